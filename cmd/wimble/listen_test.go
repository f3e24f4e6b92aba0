package main

import (
	"testing"
)

// TestListenFlag: what -D takes, and what becomes of it.
func TestListenFlag(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{"1080", "127.0.0.1:1080"},
		{"0", "127.0.0.1:0"},
		{"127.0.0.2:65535", "127.0.0.2:65535"},
		{"localhost:1080", "127.0.0.1:1080"},
		{"[::1]:1080", "[::1]:1080"},
		{"[::ffff:127.0.0.1]:1080", "127.0.0.1:1080"},
		{":1080", "0.0.0.0:1080"}, // as with ssh -D; it is refused later, with the reason
		{"*:1080", "0.0.0.0:1080"},
		{"0.0.0.0:1080", "0.0.0.0:1080"},
		{"", ""},
		{"65536", ""},
		{"-1", ""},
		{"port", ""},
		{"127.0.0.1", ""},
		{"127.0.0.1:", ""},
		{"127.0.0.1:http", ""},
		{"::1:1080", ""},
		{"[::1]", ""},
		{"[fe80::1%eth0]:1080", ""},
		{"name.example:1080", ""},
		{"http://127.0.0.1:1080", ""},
	} {
		var l listenFlag
		err := l.Set(test.value)
		if got := l.String(); got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("-D %q: got %q, %v, want %q", test.value, got, err, test.want)
		}
	}
}
