package config

import (
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	longLabel := strings.Repeat("a", 63)
	for _, test := range []struct {
		in   string
		want string // "" for refused
		why  string // A part of the error.
	}{
		{in: "192.0.2.1:51820", want: "192.0.2.1:51820"},
		{in: "[2001:DB8:0::1]:51820", want: "[2001:db8::1]:51820"},
		{in: "[::ffff:192.0.2.1]:51820", want: "192.0.2.1:51820"},
		{in: "vpn.example.com:1", want: "vpn.example.com:1"},
		{in: "VPN.Example.com.:65535", want: "VPN.Example.com.:65535"},
		{in: "_srv.under_score.example:51820", want: "_srv.under_score.example:51820"},
		{in: "localhost:51820", want: "localhost:51820"},
		{in: "xn--bcher-kva.example:0443", want: "xn--bcher-kva.example:443"},
		{in: longLabel + ".example:51820", want: longLabel + ".example:51820"},

		{in: "vpn.example.com", why: "has no port"},
		{in: "[2001:db8::1]", why: "has no port"},
		{in: "2001:db8::1", why: "without brackets"},
		{in: "2001:db8:0:0:0:0:0:1:51820", why: "without brackets"},
		{in: "vpn.example.com:", why: "not a number from 1 to 65535"},
		{in: "vpn.example.com:0", why: "not a number from 1 to 65535"},
		{in: "192.0.2.1:0", why: "not a number from 1 to 65535"},
		{in: "vpn.example.com:65536", why: "not a number from 1 to 65535"},
		{in: "vpn.example.com:+80", why: "not a number from 1 to 65535"},
		{in: "vpn.example.com:ssh", why: "not a number from 1 to 65535"},
		{in: ":51820", why: "neither a name nor an IP address"},
		{in: "192.0.2.300:51820", why: "neither a name nor an IP address"},
		{in: "192.0.2:51820", why: "neither a name nor an IP address"},
		{in: "[192.0.2.1]:51820", why: "neither a name nor an IP address"},
		{in: "[vpn.example.com]:51820", why: "neither a name nor an IP address"},
		{in: "https://vpn.example.com:51820", why: "neither a name nor an IP address"},
		{in: "vpn..example.com:51820", why: "neither a name nor an IP address"},
		{in: "-vpn.example.com:51820", why: "neither a name nor an IP address"},
		{in: "vpn-.example.com:51820", why: "neither a name nor an IP address"},
		{in: "bücher.example:51820", why: "neither a name nor an IP address"},
		{in: "vpn example com:51820", why: "neither a name nor an IP address"},
		{in: "a" + longLabel + ".example:51820", why: "neither a name nor an IP address"},
		{in: strings.Repeat("abc.", 64) + "de:51820", why: "neither a name nor an IP address"},
	} {
		got, err := parseEndpoint(test.in)
		if got != test.want {
			t.Errorf("%s: got %q, %v; want %q", test.in, got, err, test.want)
		}
		if test.want == "" && (err == nil || !strings.Contains(err.Error(), test.why)) {
			t.Errorf("%s: got error %v, want one with %q", test.in, err, test.why)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"10.0.0.0/33", `"10.0.0.0/33"`},
		{"a\x1b[31m", `"a\x1b[31m"`}, // A terminal must not obey it.
		{strings.Repeat("ab.", 30), `"` + strings.Repeat("ab.", 21) + `a"…`},
		{strings.Repeat("k", 31), `"` + strings.Repeat("k", 31) + `"`},
		{strings.Repeat("k", 32), "this value (not shown, it may be a key)"},
		{"x." + strings.Repeat("+/-_9aZ", 5), "this value (not shown, it may be a key)"},
	} {
		if got := quote(test.in); got != test.want {
			t.Errorf("quote(%q) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestSuggest(t *testing.T) {
	words := []string{"PrivateKey", "PublicKey", "DNS", "MTU", "AllowedIPs"}
	for _, test := range []struct{ in, want string }{
		{"privatekey", "PrivateKey"},
		{"Private_Key", "PrivateKey"},
		{"PrivteKye", "PrivateKey"}, // A letter lost, two swapped.
		{"pubkey", ""},              // Three letters away.
		{"allowed-ip", "AllowedIPs"},
		{"DN", "DNS"},
		{"D", ""}, // More wrong than right.
		{"Jc", ""},
		{"", ""},
	} {
		if got := suggest(test.in, words); got != test.want {
			t.Errorf("suggest(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}
