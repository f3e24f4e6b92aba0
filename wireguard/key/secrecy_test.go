package key_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// spills are the ways in which a text may give away bytes of k.
func spills(k [key.Size]byte) []string {
	part := k[4:12] // No clamped byte among them.
	return []string{
		string(part),
		hex.EncodeToString(part),
		strings.ToUpper(hex.EncodeToString(part)),
		fmt.Sprintf("% x", part),
		fmt.Sprintf("%#x", part)[2:],
		strings.Trim(fmt.Sprintf("%d", part), "[]"),
		strings.Trim(fmt.Sprintf("%o", part), "[]"),
		strings.Trim(fmt.Sprintf("%b", part), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", part), "[]byte{"), "}"),
		strings.Trim(fmt.Sprintf("%q", part), `"`),
		base64.StdEncoding.EncodeToString(k[3:12]),
	}
}

// holders wrap a key in every way that has fmt reach it by another path; in
// the last one it can call no method of the key.
func holders[K any](k K) map[string]any {
	return map[string]any{
		"value":            k,
		"pointer":          &k,
		"slice":            []K{k},
		"array":            [1]K{k},
		"map":              map[string]K{"k": k},
		"interface":        []any{k},
		"exported field":   struct{ K K }{k},
		"embedded pointer": struct{ K *K }{&k},
		"unexported field": struct{ k K }{k},
		"pointer to one":   &struct{ k K }{k},
		"two levels down":  struct{ s []struct{ k K } }{[]struct{ k K }{{k}}},
	}
}

func TestFmtPrintsNoSecret(t *testing.T) {
	verbs := []string{
		"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%O", "%b", "%c", "%U", "%e", "%f", "%g", "%t", "%p", "%#p",
		"%w", "%z", "%[2]v", "%!", "%10v", "%.3s", "no verb",
	}
	check := func(t *testing.T, holders map[string]any) {
		for name, holder := range holders {
			for _, verb := range verbs {
				checkText(t, name+" as "+verb, fmt.Sprintf(verb, holder))
				checkText(t, name+" as error of "+verb, fmt.Errorf(verb, holder).Error())
			}
			checkText(t, name+" with Sprintln", fmt.Sprintln(holder))
			checkText(t, name+" as a width", fmt.Sprintf("%*d", holder, 1))
		}
	}
	check(t, holders(key.PrivateFrom(counting)))
	check(t, holders(key.PresharedFrom(counting)))
}

func TestPlaceholder(t *testing.T) {
	check := func(k fmt.Formatter, want string) {
		t.Helper()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, k); got != want {
				t.Errorf("%s prints %q, want %q", verb, got, want)
			}
		}
		if got, err := json.Marshal(k); err != nil || string(got) != `"`+want+`"` {
			t.Errorf("in JSON %s, %v, want %q", got, err, want)
		}
	}
	check(key.PrivateFrom(counting), "(private key)")
	check(key.PresharedFrom(counting), "(preshared key)")
}

func TestLogsAndEncodersWriteNoSecret(t *testing.T) {
	check := func(t *testing.T, holders map[string]any) {
		for name, holder := range holders {
			var text bytes.Buffer
			for _, h := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&text, nil)} {
				log := slog.New(h)
				log.Error("m", "k", holder)
				log.WithGroup("g").With("k", holder).Error("m", slog.Group("h", "k", holder))
			}
			encoded, err := json.Marshal(holder)
			fmt.Fprintln(&text, string(encoded), err)
			encoded, err = xml.Marshal(holder)
			fmt.Fprintln(&text, string(encoded), err)
			err = gob.NewEncoder(&text).Encode(holder)
			fmt.Fprintln(&text, err)
			checkText(t, name+" logged or encoded", text.String())
		}
	}
	check(t, holders(key.PrivateFrom(counting)))
	check(t, holders(key.PresharedFrom(counting)))
}

func TestPublicInLogsAndEncoders(t *testing.T) {
	k := key.PublicFrom(counting)
	var text bytes.Buffer
	slog.New(slog.NewJSONHandler(&text, nil)).Error("m", "k", k)
	slog.New(slog.NewTextHandler(&text, nil)).Error("m", "k", k)
	if strings.Count(text.String(), countingText) != 2 {
		t.Errorf("logs %q, want the public key in both", text.String())
	}
}

// TestErrorsTellNoPartOfAKey gives the parsers keys with one mistake each.
func TestErrorsTellNoPartOfAKey(t *testing.T) {
	texts := []string{hex.EncodeToString(counting[:]), countingText[:43], countingText + "=", " " + countingText}
	for i := range countingText {
		texts = append(texts, countingText[:i]+"!"+countingText[i+1:])
	}
	for _, text := range texts {
		for kind, err := range parseAll(text) {
			if err == nil {
				t.Fatalf("%s: %q accepted", kind, text)
			}
			checkText(t, "error of "+kind, fmt.Sprintf("%v %#v %+v", err, err, err))
		}
	}
}

func checkText(t *testing.T, name, text string) {
	t.Helper()
	for _, spill := range spills(counting) {
		if strings.Contains(text, spill) {
			t.Errorf("%s: %q gives the key away", name, text)
		}
	}
}
