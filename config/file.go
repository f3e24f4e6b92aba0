package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxSize is the size of the largest file that is read, in bytes. It is room
// for some 20,000 peers and keeps a mistaken path from filling the memory.
const maxSize = 8 << 20

// Read reads a configuration of either format as [Parse] does; "-" is the
// standard input. A file that holds a secret and that others than owner and
// group can use brings a warning, as with wg-quick, where the system has such
// modes.
//
// The error is an [Error], also when the file can't be read; it then wraps
// [fs.ErrNotExist], [fs.ErrPermission] or what else the system said.
func Read(path string) (Config, []Warning, error) {
	s, err := readSource(path)
	if err != nil {
		return Config{}, nil, err
	}
	r, err := parse(s.name, s.text)
	if err != nil {
		return Config{}, nil, err
	}
	if r.secret {
		r.warnings = append(r.warnings, s.exposed()...)
	}
	return r.config, r.warnings, nil
}

// ReadWireGuard reads a wg-quick(8) file as [ParseWireGuard] does, and the file
// itself as [Read] does.
func ReadWireGuard(path string) (Tunnel, []Warning, error) {
	s, err := readSource(path)
	if err != nil {
		return Tunnel{}, nil, err
	}
	tunnel, warnings, err := ParseWireGuard(s.name, s.text)
	if err != nil {
		return Tunnel{}, nil, err
	}
	return tunnel, append(warnings, s.exposed()...), nil
}

// Parse reads the text of a TOML file, as [ParseTOML] does, or of a wg-quick
// file, as [ParseWireGuard] does, which becomes a tunnel without listeners.
// A text whose first section is [Interface] or [Peer], in any case, is a
// wg-quick file, one that begins with [[ is TOML, and for any other the name
// decides: wg-quick's end in ".conf".
func Parse(name string, text []byte) (Config, []Warning, error) {
	r, err := parse(name, text)
	return r.config, r.warnings, err
}

// A result is what a text of either format gives.
type result struct {
	config   Config
	warnings []Warning
	secret   bool // The text itself holds one.
}

func parse(name string, text []byte) (result, error) {
	if isWireGuard(name, text) {
		tunnel, warnings, err := ParseWireGuard(name, text)
		if err != nil {
			return result{}, err
		}
		return result{config: Config{Tunnels: []Tunnel{tunnel}}, warnings: warnings, secret: true}, nil
	}
	p, err := parseTOML(name, text)
	if err != nil {
		return result{}, err
	}
	return result{config: p.config, warnings: p.warnings, secret: p.secret}, nil
}

// isWireGuard tells wg-quick files from TOML.
func isWireGuard(name string, text []byte) bool {
	first := strings.ReplaceAll(firstWords(text), " ", "")
	switch {
	case strings.EqualFold(first, "["+titleInterface+"]"), strings.EqualFold(first, "["+titlePeer+"]"):
		return true
	case strings.HasPrefix(first, "[["):
		return false
	}
	return strings.EqualFold(filepath.Ext(name), ".conf")
}

// firstWords is the first line that is more than a comment.
func firstWords(text []byte) string {
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		words, _, _ := bytes.Cut(line, []byte("#"))
		if words = bytes.TrimSpace(words); len(words) > 0 {
			return string(words)
		}
	}
	return ""
}

// A source is the text of a file.
type source struct {
	name string
	text []byte
	info fs.FileInfo // Nil for the standard input.
}

// readSource reads a file that the user names; "-" is the standard input.
func readSource(path string) (source, error) {
	if path == "-" {
		text, err := readLimited("stdin", os.Stdin)
		return source{name: "stdin", text: text}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return source{}, unreadable(path, err)
	}
	defer f.Close()

	// The opened file is judged, not the path, which may lead elsewhere by now.
	info, err := f.Stat()
	if err != nil {
		return source{}, unreadable(path, err)
	}
	if info.IsDir() {
		return source{}, &Error{
			At:     Place{File: path},
			Cause:  errors.New("this is a directory"),
			Remedy: "name the file in it",
		}
	}
	text, err := readLimited(path, f)
	return source{name: path, text: text, info: info}, err
}

// readLimited reads no more than it takes to see that a file is too large.
func readLimited(name string, r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	return text, nil
}

// exposed warns of a file that others can use.
func (s source) exposed() []Warning {
	if s.info == nil || !OpenToOthers(s.info) {
		return nil
	}
	return []Warning{{
		At:   Place{File: s.name},
		Text: fmt.Sprintf("other users have access to this file, which holds a secret key (mode %04o): chmod 600 it", s.info.Mode().Perm()),
	}}
}

// unreadable is the error for a file that the system does not let us read.
func unreadable(path string, err error) error {
	e := &Error{At: Place{File: path}, Cause: err, Remedy: "check the path"}
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		e.Cause = withPath.Err // The place has the path already.
	}
	if errors.Is(err, fs.ErrPermission) {
		e.Remedy = "run as a user who may read it, or make this user its owner"
	}
	return e
}

// cleanText is the text of a file of any format, without a byte order mark. It
// refuses what is too large or not UTF-8.
func cleanText(file string, text []byte) (string, error) {
	if len(text) > maxSize {
		return "", &Error{
			At:     Place{File: file},
			Cause:  fmt.Errorf("this is larger than %d MiB", maxSize>>20),
			Remedy: "is it the right file?",
		}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bad := firstBad(text); bad < len(text) {
		return "", &Error{
			At:     Place{File: file, Line: 1 + bytes.Count(text[:bad], []byte("\n"))},
			Cause:  errors.New("this is not text in UTF-8"),
			Remedy: "save the file as UTF-8 (Windows PowerShell writes UTF-16 with > by default)",
		}
	}
	return string(text), nil
}

// firstBad is the index of the first byte that is zero or no UTF-8, or else
// the length of text.
func firstBad(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

// tunnelName is the name for the tunnel of a file.
func tunnelName(file string) string {
	name := filepath.Base(file)
	for _, ext := range []string{".conf", ".toml"} {
		if before, ok := strings.CutSuffix(name, ext); ok {
			return before
		}
	}
	return name
}
