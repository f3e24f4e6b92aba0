package config

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// tunnelWithFile is a file beside a file of a key, and the text that names it.
func tunnelWithFile(dir string) (name, text string) {
	return filepath.Join(dir, "wimble.toml"), "[[tunnel]]\nprivate_key_file = 'key'\naddresses = ['10.0.0.2']\n"
}

// TestKeyFile has what a key file may hold; TestKeyFileAccess has who may use it.
func TestKeyFile(t *testing.T) {
	keys := newKeyring(t)
	const place = "wimble.toml:2: tunnel 1: private_key_file: \"key\": "
	for _, test := range []struct{ text, want string }{
		{"{{private}}", ""},
		{"{{private}}\n", ""},
		{" {{private}}\r\n\n", ""},
		{"{{private}}" + strings.Repeat("\n", maxKeyFile-44), ""},
		{"{{private}}" + strings.Repeat("\n", maxKeyFile-43), "this is larger than 4096 bytes; is it the right file?"},
		{"", "a key is 44 characters of base64, this has 0; copy the key again from where it was made, whole and without spaces (it is not repeated here)"},
		{"{{private}}\n{{private}}", "a key is 44 characters of base64, this has 89; copy the key again from where it was made, whole and without spaces (it is not repeated here)"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "key"), keys.fill(test.text), 0o600)
		name, text := tunnelWithFile(dir)
		config, _, err := ParseTOML(name, []byte(text))
		switch {
		case test.want == "":
			if err != nil || !config.Tunnels[0].PrivateKey.Equal(keys.private) {
				t.Errorf("%q: got %v", test.text, err)
			}
		case err == nil || strings.TrimPrefix(err.Error(), dir+string(filepath.Separator)) != place+test.want:
			t.Errorf("%q: got %v, want %s", test.text, err, test.want)
		default:
			keys.checkSecret(t, err.Error())
		}
	}
}

func TestUsersFile(t *testing.T) {
	const long = "write lines of the form name:password, each name once"
	for _, test := range []struct{ text, want string }{
		{"ann:x", ""},
		{"\ufeff# comment\r\n\r\nann:a:b \r\nbob:" + strings.Repeat("p", 255) + "\n", ""},
		{"", "there is no user in this file; add lines of the form name:password"},
		{"# ann:x\n", "there is no user in this file; add lines of the form name:password"},
		{"ann:x\nhunter2", "line 2: there is no : between name and password; " + long},
		{"ann:x\n\nann:hunter2", "line 3: this user is there already; " + long},
		{":hunter2", "line 1: name and password must have 1 to 255 bytes; " + long},
		{"hunter2:", "line 1: name and password must have 1 to 255 bytes; " + long},
		{"ann:" + strings.Repeat("hunter2.", 32), "line 1: name and password must have 1 to 255 bytes; " + long},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "users"), test.text, 0o600)
		text := newKeyring(t).fill(withTOML("", "", "[[proxy]]\nlisten = '0.0.0.0:1080'\nusers_file = 'users'"))
		_, warnings, err := ParseTOML(filepath.Join(dir, "wimble.toml"), []byte(text))
		want := ""
		if test.want != "" {
			want = filepath.Join(dir, "wimble.toml") + ":12: proxy 1: users_file: \"users\": " + test.want
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || len(warnings) > 0 {
			t.Errorf("%q: got %q, %v, want %q", test.text, got, warnings, want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("a password is in %q", got)
		}
	}
}

// TestUsersAreHashed: no password is kept, and neither it nor its hash is
// printed.
func TestUsersAreHashed(t *testing.T) {
	users, err := parseUsers([]byte("ann:abc\nbob:abc\neve:abd\n"))
	if err != nil {
		t.Fatal(err)
	}
	// The SHA-256 of "abc" is FIPS 180-2's example.
	const hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	ann := users["ann"]
	if got := hex.EncodeToString(ann[:]); got != hash {
		t.Errorf("got %s", got)
	}
	if !ann.Equal(users["bob"]) || ann.Equal(users["eve"]) || ann.Equal(PasswordHash{}) {
		t.Error("Equal is wrong")
	}
	config := Config{Proxies: []Proxy{{Users: users}}}
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprintf("%v %+v %#v %x %d %q", config, config, config, ann, ann, users), string(encoded),
	} {
		for _, secret := range []string{"abc", "ba7816bf", "BA7816BF", "186 120 22", "186,120,22", "0xba, 0x78"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%q is in %q", secret, printed)
			}
		}
		if !strings.Contains(printed, "(password)") {
			t.Errorf("no placeholder in %q", printed)
		}
	}
}
