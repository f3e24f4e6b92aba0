package proxy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestNewRefuses(t *testing.T) {
	secret := HashPassword("secret")
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error
	}{
		{"no dial", Config{}, "no Dial"},
		{"empty name", Config{Dial: echo, Users: Users{"": secret}}, `user "": the name`},
		{"long name", Config{Dial: echo, Users: Users{strings.Repeat("x", 256): secret}}, "the name must have 1 to 255 bytes"},
		{"colon in a name", Config{Dial: echo, Users: Users{"a:b": secret}}, `user "a:b": the name has a colon`},
		{"empty password", Config{Dial: echo, Users: Users{"ann": HashPassword("")}}, `user "ann": the password`},
		{"no hash", Config{Dial: echo, Users: Users{"ann": {}}}, `user "ann": the password`},
		{"unknown protocol", Config{Dial: echo, Protocols: []Protocol{HTTP, "ftp"}}, `protocol "ftp"`},
		{"no network", Config{Dial: echo, AllowClients: make([]netip.Prefix, 1)}, "allowed clients: invalid Prefix"},
		{"mapped network", Config{Dial: echo, AllowClients: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}, "::ffff:10.0.0.0/104"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("New: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestPasswordsAreNotPrinted prints a Config in the ways that a log may.
func TestPasswordsAreNotPrinted(t *testing.T) {
	users := Users{"ann": HashPassword("secret")}
	asJSON, err := json.Marshal(users)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{string(asJSON), fmt.Sprint(users), fmt.Sprintf("%+v", users), fmt.Sprintf("%#v", users["ann"]), fmt.Sprintf("%x", users)} {
		if !strings.Contains(got, "(password)") || len(got) > 60 {
			t.Errorf("printed as %s", got)
		}
	}
}

func TestColonInANameWithoutHTTP(t *testing.T) {
	if _, err := New(Config{Dial: echo, Protocols: []Protocol{SOCKS5}, Users: Users{"a:b": HashPassword("secret")}}); err != nil {
		t.Errorf("New: %v, want no error: only HTTP ends a name at the colon", err)
	}
}
