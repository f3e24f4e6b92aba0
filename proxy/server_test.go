package proxy

import (
	"strings"
	"testing"
)

func TestNewRefuses(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error
	}{
		{"no dial", Config{}, "no Dial"},
		{"empty name", Config{Dial: echo, Users: map[string]string{"": "secret"}}, `user "": the name`},
		{"long name", Config{Dial: echo, Users: map[string]string{long: "secret"}}, "the name must have 1 to 255 bytes"},
		{"empty password", Config{Dial: echo, Users: map[string]string{"ann": ""}}, `user "ann": the password`},
		{"long password", Config{Dial: echo, Users: map[string]string{"ann": "secret" + long}}, `user "ann": the password`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("New: %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}
