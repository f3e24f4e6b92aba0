package config

import (
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for _, test := range []struct {
		in   string
		want string // "" for refused
		why  string // A part of the error.
	}{
		{in: "192.168.0.0/16:*", want: "192.168.0.0/16:*"},
		{in: "192.168.0.0/16:1-65535", want: "192.168.0.0/16:*"},
		{in: "10.0.0.5:443", want: "10.0.0.5/32:443"},
		{in: "10.0.0.5:443-443", want: "10.0.0.5/32:443"},
		{in: "[fd00::/8]:8000-8100", want: "[fd00::/8]:8000-8100"},
		{in: "[fd00::5]:65535", want: "[fd00::5/128]:65535"},
		{in: "0.0.0.0/0:*", want: "0.0.0.0/0:*"},

		{in: "", why: "has no ports"},
		{in: "192.168.0.0/16", why: "has no ports"},
		{in: "[fd00::/8]", why: "has no ports"},
		{in: "fd00::5", why: "has no ports"},
		{in: "fd00::/8:443", why: "needs brackets"},
		{in: "[10.0.0.5]:443", why: "needs brackets"},
		{in: "[fd00::/8:443", why: "needs brackets"},
		{in: "fd00::/8]:443", why: "needs brackets"},
		{in: "192.168.1.0/16:*", why: "has bits set"},
		{in: "db.internal:5432", why: "not an IP address"},
		{in: ":443", why: "not an IP address"},
		{in: "[::ffff:10.0.0.5]:443", why: "mapped"},
		{in: "[fe80::1%eth0]:443", why: "not an IP address"},
		{in: "10.0.0.5:", why: "no ports from 1"},
		{in: "10.0.0.5:0", why: "no ports from 1"},
		{in: "10.0.0.5:0-5", why: "no ports from 1"},
		{in: "10.0.0.5:65536", why: "no ports from 1"},
		{in: "10.0.0.5:9-8", why: "no ports from 1"},
		{in: "10.0.0.5:9-", why: "no ports from 1"},
		{in: "10.0.0.5:-9", why: "no ports from 1"},
		{in: "10.0.0.5:+9", why: "no ports from 1"},
		{in: "10.0.0.5:1-2-3", why: "no ports from 1"},
		{in: "10.0.0.5:https", why: "no ports from 1"},
	} {
		got, err := parseRule(test.in)
		if test.want == "" {
			if err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("%s: got %v, %v, want an error with %q", test.in, got, err, test.why)
			}
			continue
		}
		if err != nil || got.String() != test.want {
			t.Errorf("%s: got %v, %v, want %s", test.in, got, err, test.want)
		}
		if again, err := parseRule(got.String()); err != nil || again != got {
			t.Errorf("%s: printed and read again: %v, %v", test.in, again, err)
		}
	}
}
