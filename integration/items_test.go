package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// items says which tests show that an item of the protocol's definition of
// done holds. The numbers are that list's; left out are 40 to 42 (the UAPI),
// 53 (speed is a benchmark) and 57 (the platforms are built by CI). A name is
// that of a test with its package, and may name one of its subtests.
var items = map[int][]string{
	1: {"engine.TestKnownAnswers", "handshake.TestTranscript", "handshake.TestKDF", "handshake.TestKDFIsHKDF"},
	2: {"engine.TestRoundTrip", "engine.TestPresharedMismatch"},
	3: {
		"engine.TestLowOrderPeersEmitNothing", "engine.TestLowOrderMessagesAreRefused", "handshake.TestLowOrder",
		"key.TestLowOrder",
	},
	4: {
		"message.TestClassify", "message.TestReservedBytes", "message.FuzzMessage", "wireguard.TestW2Lengths",
		"wireguard.FuzzDatagrams",
		"interop.FuzzDifferential", "interop.FuzzSocket",
	},
	5: {
		"engine.TestTimestampRule", "engine.TestOwnTimestampsRise", "handshake.TestAfter", "handshake.TestWhitening",
		"handshake.TestClockSteps",
	},
	6: {"engine.TestTimestampSurvives", "engine.TestReplayedInitiation"},
	7: {"engine.TestFlood", "engine.TestFloodRate"},
	8: {"engine.TestAdmit", "engine.TestCalm", "handshake.TestFlippedBitsMAC", "wireguard.TestW1BitFlips"},
	9: {
		"engine.TestCookieRetry", "engine.TestCookieReplyMovesNothing", "engine.TestCookieReplyInAFullBacklog",
		"handshake.TestCookieIsForOneSource", "handshake.TestCookieSecretLife", "handshake.TestCookieUse",
		"handshake.TestCookieReplyRefused", "wireguard.TestW8CookieReplies",
	},
	10: {
		"engine.TestLoadHysteresis", "engine.TestUnderLoad", "engine.TestResponseUnderLoad", "engine.TestBothUnderLoad",
		"engine.TestBacklogFull", "engine.TestCookieRetry", "engine.TestLimiterUnderLoad", "wireguard.TestFloodIsShed",
	},
	11: {
		"engine.TestLimiterRate", "engine.TestLimiterBound", "engine.TestLimiterUnderLoad", "wireguard.TestW7SourceRate",
	},
	12: {"engine.TestIndexExhaustion", "engine.TestIndexUniform", "engine.TestIndexZeroIsLegal", "engine.TestSlots"},
	13: {
		"engine.TestSlots", "engine.TestSimultaneousInitiations", "engine.TestAnsweredWhileNextWaits",
		"engine.TestCrossing", "engine.TestCrossingWithALateResponse", "engine.TestExplore",
	},
	14: {
		"engine.TestResponderWaitsForConfirmation", "engine.TestResponderKeepsSendingOnCurrent",
		"engine.TestInitiatorConfirmsAtOnce",
	},
	15: {"engine.TestReplayTable", "engine.TestReplayBulk", "engine.TestReplayWindowEdges", "engine.FuzzReplay"},
	16: {"engine.TestForgedCounters", "engine.TestEndpointStays"},
	17: {
		"engine.TestCounterLimits", "engine.TestReceiveLimit", "engine.TestReserve", "engine.TestReserveConcurrently",
		"engine.TestSimulator",
	},
	18: {"engine.TestSessionExpires", "engine.TestLastMinuteRekey", "engine.TestLastMinuteRekey/not by the responder"},
	19: {
		"engine.TestRekeyBySender/initiator's data", "engine.TestRekeyBySender/initiator's passive keepalive",
		"engine.TestRekeyBySender/initiator's persistent keepalive", "engine.TestRekeyBySender/responder's data",
	},
	20: {"engine.TestRetransmission", "engine.TestJitterRange"},
	21: {
		"engine.TestInitiationGate/after an initiation", "engine.TestInitiationGate/after a response",
		"engine.TestRekeyBySender/once in 5 s", "engine.TestSimulator",
	},
	22: {"engine.TestDeadPeer"},
	23: {"engine.TestPassiveKeepalive", "engine.TestPassiveKeepalive/keepalives are never answered"},
	24: {
		"engine.TestPersistentKeepalive/at configuration", "engine.TestPersistentKeepalive/after giving up",
		"engine.TestPersistentKeepalive/after 540 s",
		"engine.TestPersistentKeepalive/any authenticated message puts it off",
	},
	25: {"engine.TestZeroing"},
	26: {"engine.TestSimulator", "engine.TestSuspend", "wireguard.TestDeviceSuspend"},
	27: {"engine.TestClockJumps", "engine.TestOwnTimestampsRise", "engine.TestSimulator"},
	28: {"engine.TestEndpointFollows", "engine.TestEndpointStays", "engine.TestCookieReplyMovesNothing"},
	29: {"engine.TestStickySource"},
	30: {"engine.TestPolice", "engine.TestEndpointOfPolicedData"},
	31: {"engine.TestInnerLengths", "engine.TestPoliceMalformed", "engine.FuzzTrim"},
	32: {"engine.TestPadding", "engine.TestPaddingIsZero"},
	33: {"engine.TestStagedQueue", "engine.TestStagedOrder", "engine.TestStagedByTheResponder"},
	34: {"engine.TestRoute", "engine.TestEndpointUnknown"},
	35: {"engine.TestCountersOfTenPings", "engine.TestCountersCountWhatIsAuthentic", "engine.TestCountersAre64Bits"},
	36: {"engine.TestPresharedChange", "engine.TestPrivateKeyChange", "engine.TestOwnKeyPeer"},
	37: {"wireguard.TestDeviceMovesPort", "kernel.TestKernel"},
	38: {
		"engine.TestAllowedIPsTable", "engine.TestAllowedIPsChanges", "engine.TestAllowedIPsMapped",
		"engine.TestAllowedIPsMany", "engine.TestAllowedIPsDepth", "engine.TestAllowedIPsAgainstNaiveList",
	},
	39: {"wireguard.TestPeersComeAndGo"},
	43: {
		"interop.TestTunnel", "interop.TestRekey", "kernel.TestKernel", "wireguard.TestUnpaddedPeer",
		"wireguard.TestSilentUnderLoad",
		"interop.TestNetns01OverIPv4",
	},
	44: {
		"wireguard.TestUnpaddedPeer", "wireguard.TestFutureTimestamps", "wireguard.TestReplacesFutureClient",
		"handshake.TestBoringTunTimestamp",
	},
	45: {"engine.TestSimulator", "engine.TestLateResponse", "engine.TestCrossingOnALongPath", "interop.TestW19Loss", "interop.TestW20TCP"},
	46: {
		"engine.TestSimulator", "engine.TestEndpointFollows", "wireguard.TestW16Roaming",
		"wireguard.TestRoamingFamilies", "wireguard.TestRoamingNAT", "wireguard.TestRoamingResponse",
	},
	47: {"wireguard.FuzzDatagrams", "wireguard.TestW2Lengths", "wireguard.TestSocketTrain"},
	48: {"wireguard.TestSegmentFallback", "wireguard.TestSegmentErrorIsReported"},
	49: {"wireguard.TestSocketsOpen", "wireguard.TestRunWithoutSockets"},
	50: {
		"wireguard.TestW22SendErrors", "wireguard.TestW22ReceiveErrors", "wireguard.TestW22Close",
		"wireguard.TestDeviceClose", "wireguard.TestMain",
	},
	51: {"netstack.TestStalledReaderStopsNobody", "netstack.TestBackPressure", "wireguard.TestWorkerIsFair"},
	52: {
		"engine.TestNoAllocations", "wireguard.TestDataAllocatesNothing", "wireguard.TestJunkAllocatesNothing",
		"wireguard.TestW26StagedPackets", "wireguard.TestW7FloodWithMAC1",
	},
	54: {"wireguard.TestW6FloodWithoutMAC1", "wireguard.TestW7FloodWithMAC1"},
	55: {
		"wireguard.TestW24Secrets", "wireguard.TestW24SearchFinds", "handshake.TestWipe",
		"handshake.TestKeysAreNotPrinted", "key.TestFmtPrintsNoSecret", "key.TestErrorsTellNoPartOfAKey",
	},
	56: {"integration.TestLayout", "integration.TestRules"},
	58: {"integration.TestLayout", "wireguard.Example", "netstack.ExampleOpen"},
	59: {"engine.TestDropNames", "engine.TestOldTimestampIsTold", "wireguard.TestW10InnerJunk"},
	60: {"integration.TestDeviationsAreListed"},
}

// absent are the items that no test here is to show.
var absent = []int{40, 41, 42, 53, 57}

// testFolders are where the tests of the table are.
var testFolders = map[string]string{
	"engine": "../wireguard/engine", "handshake": "../wireguard/handshake", "message": "../wireguard/message",
	"key": "../wireguard/key", "wireguard": "../wireguard", "netstack": "../netstack",
	"integration": ".", "interop": "interop", "kernel": "kernel",
}

// TestItems reads the source of the tests, since a name in a table is nothing
// that a compiler looks at.
func TestItems(t *testing.T) {
	tests := map[string]map[string]bool{}
	for name, dir := range testFolders {
		maps.Copy(tests, testsIn(t, name, dir))
	}
	for item := 1; item <= 60; item++ {
		if len(items[item]) == 0 && !slices.Contains(absent, item) {
			t.Errorf("item %d has no test", item)
		}
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

// TestFaultRows: each row of the faults that the engine must survive has a
// test that bears its name, but for the last: the published vectors.
func TestFaultRows(t *testing.T) {
	found := map[string]bool{}
	for name, dir := range testFolders {
		for test := range testsIn(t, name, dir) {
			found[faultRow.FindString(test)] = true
		}
	}
	for row := 1; row <= 26; row++ {
		if !found[".TestW"+strconv.Itoa(row)] {
			t.Errorf("row W%d has no test", row)
		}
	}
}

var faultRow = regexp.MustCompile(`\.TestW[0-9]+`)

// TestDeviationsAreListed: whoever reads the engine's package comment finds
// every difference from the kernel in one place.
func TestDeviationsAreListed(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../wireguard/engine/engine.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(f.Doc.Text(), "# Where it differs from the kernel, and why")
	if !found {
		t.Fatal("the section is gone")
	}
	for _, subject := range []string{"Timestamps", "older initiation", "retransmission", "cross", "without an endpoint", "ECN", "ICMP", "source"} {
		if !strings.Contains(list, subject) {
			t.Errorf("nothing is said of %q", subject)
		}
	}
}

// testsIn are the tests in a folder, each with the texts in it, which include
// the names of its subtests.
func testsIn(t *testing.T, name, dir string) map[string]map[string]bool {
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
			if !ok || f.Recv != nil || !isTest(f.Name.Name) {
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
			tests[name+"."+f.Name.Name] = texts
		}
	}
	return tests
}

func isTest(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Example")
}
