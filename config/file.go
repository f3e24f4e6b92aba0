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

// ReadWireGuard reads a wg-quick(8) file as [ParseWireGuard] does; "-" is the
// standard input. A file that others than owner and group can use brings a
// warning, as with wg-quick, where the system has such modes.
//
// The error is an [Error], also when the file can't be read; it then wraps
// [fs.ErrNotExist], [fs.ErrPermission] or what else the system said.
func ReadWireGuard(path string) (Tunnel, []Warning, error) {
	if path == "-" {
		return readWireGuard("stdin", os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return Tunnel{}, nil, unreadable(path, err)
	}
	defer f.Close()

	// The opened file is judged, not the path, which may lead elsewhere by now.
	info, err := f.Stat()
	if err != nil {
		return Tunnel{}, nil, unreadable(path, err)
	}
	if info.IsDir() {
		return Tunnel{}, nil, &Error{
			At:     Place{File: path},
			Cause:  errors.New("this is a directory"),
			Remedy: "name the .conf file in it",
		}
	}
	tunnel, warnings, err := readWireGuard(path, f)
	if err == nil && openToOthers(info) {
		warnings = append(warnings, Warning{
			At:   Place{File: path},
			Text: fmt.Sprintf("other users have access to this file, which holds a private key (mode %04o): chmod 600 it", info.Mode().Perm()),
		})
	}
	return tunnel, warnings, err
}

func readWireGuard(name string, r io.Reader) (Tunnel, []Warning, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Tunnel{}, nil, unreadable(name, err)
	}
	return ParseWireGuard(name, text)
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
	return strings.TrimSuffix(filepath.Base(file), ".conf")
}
