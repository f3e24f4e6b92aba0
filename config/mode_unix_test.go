//go:build unix

package config

import (
	"io/fs"
	"testing"
)

func TestFileMode(t *testing.T) {
	for _, test := range []struct {
		mode fs.FileMode
		want string
	}{
		{0o600, ""},
		{0o640, ""}, // As wg-quick, which leaves the group to the administrator.
		{0o644, "other users have access to this file, which holds a secret key (mode 0644): chmod 600 it"},
		{0o602, "other users have access to this file, which holds a secret key (mode 0602): chmod 600 it"},
	} {
		path := writeFile(t, "wg0.conf", test.mode)
		_, warnings, err := ReadWireGuard(path)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, w := range warnings {
			got += w.Text
		}
		if got != test.want {
			t.Errorf("mode %04o: got %q, want %q", test.mode, got, test.want)
		}
	}
}
