package engine

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// items says which tests show that an item of the protocol's definition of
// done (PROTOCOL, section 7) holds: those that a pure engine can show. A name
// is that of a test here, or of one in a package beside, and may name one of
// its subtests.
var items = map[int][]string{
	1:  {"TestKnownAnswers", "handshake.TestTranscript", "handshake.TestKDF", "handshake.TestKDFIsHKDF"},
	2:  {"TestRoundTrip", "TestPresharedMismatch"},
	3:  {"TestLowOrderPeersEmitNothing", "TestLowOrderMessagesAreRefused", "handshake.TestLowOrder", "key.TestLowOrder"},
	5:  {"TestTimestampRule", "TestOwnTimestampsRise", "handshake.TestAfter", "handshake.TestWhitening", "handshake.TestClockSteps"},
	6:  {"TestTimestampSurvives", "TestReplayedInitiation"},
	7:  {"TestFlood", "TestFloodRate"},
	12: {"TestIndexExhaustion", "TestIndexUniform", "TestIndexZeroIsLegal", "TestSlots"},
	13: {"TestSlots", "TestSimultaneousInitiations", "TestAnsweredWhileNextWaits", "TestCrossing"},
	14: {"TestResponderWaitsForConfirmation", "TestResponderKeepsSendingOnCurrent", "TestInitiatorConfirmsAtOnce"},
	15: {"TestReplayTable", "TestReplayBulk", "TestReplayWindowEdges", "FuzzReplay"},
	16: {"TestForgedCounters", "TestEndpointStays"},
	17: {"TestCounterLimits", "TestReceiveLimit", "TestReserve", "TestReserveConcurrently", "TestSimulator"},
	18: {"TestSessionExpires", "TestLastMinuteRekey", "TestLastMinuteRekey/not by the responder"},
	19: {
		"TestRekeyBySender/initiator's data", "TestRekeyBySender/initiator's passive keepalive",
		"TestRekeyBySender/initiator's persistent keepalive", "TestRekeyBySender/responder's data",
	},
	20: {"TestRetransmission", "TestJitterRange"},
	21: {"TestInitiationGate/after an initiation", "TestInitiationGate/after a response", "TestRekeyBySender/once in 5 s", "TestSimulator"},
	22: {"TestDeadPeer"},
	23: {"TestPassiveKeepalive", "TestPassiveKeepalive/keepalives are never answered"},
	24: {
		"TestPersistentKeepalive/at configuration", "TestPersistentKeepalive/after giving up", "TestPersistentKeepalive/after 540 s",
		"TestPersistentKeepalive/any authenticated message puts it off",
	},
	25: {"TestZeroing"},
	27: {"TestClockJumps", "TestOwnTimestampsRise", "TestSimulator"},
	28: {"TestEndpointFollows", "TestEndpointStays", "TestCookieReplyMovesNothing"},
	29: {"TestStickySource"},
	30: {"TestPolice", "TestEndpointOfPolicedData"},
	31: {"TestInnerLengths", "TestPoliceMalformed", "FuzzTrim"},
	32: {"TestPadding", "TestPaddingIsZero"},
	33: {"TestStagedQueue", "TestStagedRing", "TestStagedByTheResponder"},
	34: {"TestRoute", "TestEndpointUnknown"},
	35: {"TestCountersOfTenPings", "TestCountersCountWhatIsAuthentic", "TestCountersAre64Bits"},
	36: {"TestPresharedChange", "TestPrivateKeyChange", "TestOwnKeyPeer"},
	38: {
		"TestAllowedIPsTable", "TestAllowedIPsChanges", "TestAllowedIPsMapped", "TestAllowedIPsMany", "TestAllowedIPsDepth",
		"TestAllowedIPsAgainstNaiveList",
	},
}

// wanted are the items that this package has to show.
var wanted = []int{1, 2, 3, 5, 6, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 30, 31, 32, 33, 34, 35, 36, 38}

// TestItems reads the source of the tests, since a name in a table is nothing
// that a compiler looks at.
func TestItems(t *testing.T) {
	for _, item := range wanted {
		if len(items[item]) == 0 {
			t.Errorf("item %d has no test", item)
		}
	}
	tests := map[string]map[string]bool{}
	for prefix, dir := range map[string]string{"": ".", "handshake.": "../handshake", "key.": "../key"} {
		maps.Copy(tests, testsIn(t, prefix, dir))
	}
	for _, item := range slices.Sorted(maps.Keys(items)) {
		for _, name := range items[item] {
			test, sub, hasSub := strings.Cut(name, "/")
			texts, ok := tests[test]
			if !ok {
				t.Errorf("item %d: there is no %s", item, test)
			} else if hasSub && !texts[sub] {
				t.Errorf("item %d: %s has no subtest %q", item, test, sub)
			}
		}
	}
}

// testsIn are the tests in a directory, each with the texts in it, which
// include the names of its subtests.
func testsIn(t *testing.T, prefix, dir string) map[string]map[string]bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	tests := map[string]map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			texts := map[string]bool{}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						texts[text] = true
					}
				}
				return true
			})
			tests[prefix+f.Name.Name] = texts
		}
	}
	return tests
}
