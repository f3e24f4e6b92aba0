package config

import (
	"errors"
	"strconv"
	"strings"
)

// Place says where in a configuration something stands.
type Place struct {
	File    string // As its reader was told to name it.
	Line    int    // From 1; 0 for the file as a whole.
	Section string // "Interface", "Peer 2"; "" outside of any.
	Key     string // In the spelling of the file's format; "" for the section as a whole.
}

// String is the form "wg0.conf:12: Peer 2: Endpoint", without what is not known.
func (p Place) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	for _, part := range []string{p.Section, p.Key} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// Error is the reason why a configuration is refused, a file that can't be
// read included: every error that this package returns is one.
type Error struct {
	At     Place
	Cause  error  // What is wrong; wraps [io/fs.ErrNotExist] and the like.
	Remedy string // What would be right; "" where the cause says it.
}

// Error is one line: the place, the cause and the remedy.
func (e *Error) Error() string {
	s := e.At.String() + ": " + e.Cause.Error()
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error {
	return e.Cause
}

// at gives the place to an [Error] of the functions that read one value and
// don't know where it stands.
func at(place Place, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.At = place
	}
	return err
}

// Warning is something in an accepted configuration that its author may not
// have meant.
type Warning struct {
	At   Place
	Text string
}

// String is one line: the place and the text.
func (w Warning) String() string {
	return w.At.String() + ": " + w.Text
}

// longestShown is how many bytes of a value a message repeats.
const longestShown = 64

// quote is a value as a message shows it. One that could be a key is hidden,
// in case somebody pasted a secret where something else belongs.
func quote(s string) string {
	if holdsKey(s) {
		return "this value (not shown, it may be a key)"
	}
	if len(s) > longestShown {
		return strconv.Quote(s[:longestShown]) + "…"
	}
	return strconv.Quote(s)
}

// holdsKey reports whether s has a run of characters of base64, also of its
// URL-safe kind, or hexadecimal that is about as long as a key.
func holdsKey(s string) bool {
	const shortest = 32
	run := 0
	for i := range len(s) {
		if !isWord(s[i]) && s[i] != '+' && s[i] != '/' {
			run = 0
			continue
		}
		if run++; run == shortest {
			return true
		}
	}
	return false
}

// isWord reports whether c is a letter, a digit, "-" or "_".
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
