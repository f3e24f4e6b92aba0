package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile is the size of the largest key file, in bytes: room for more than a
// key and its newline, and too little for most mistaken paths.
const maxKeyFile = 4 << 10

// readKeyFile reads a key from the file that v names, in the place of the key
// inline, which must not be given too.
func readKeyFile[T any](p *tomlParser, v value, inline string, parse func(string) (T, error)) (key T, err error) {
	if v.table.has(inline) {
		return key, v.refuse("keep one of the two", "line %d gives %s already", v.table.place(inline).Line, inline)
	}
	name, text, err := p.readSecret(v, maxKeyFile)
	if err != nil {
		return key, err
	}
	key, err = parse(string(bytes.TrimSpace(text)))
	if err != nil {
		return key, inFile(v, name, err)
	}
	return key, nil
}

// readSecret reads the file that v names, if others could not have read or
// written it.
func (p *tomlParser) readSecret(v value, limit int64) (name string, text []byte, err error) {
	if name, err = readText(v, parseFilled); err != nil {
		return "", nil, err
	}
	s, err := readRegular(p.path(name), limit)
	if err == nil {
		err = checkSecret(s.info)
	}
	if err != nil {
		return "", nil, inFile(v, name, err)
	}
	return name, s.text, nil
}

// inFile gives the place of v to an error with a file that v names.
func inFile(v value, name string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{At: v.place(), Cause: fmt.Errorf("%s: %w", quote(name), e.Cause), Remedy: e.Remedy}
	}
	return err
}

// readRegular reads a regular file. It never waits, as for the writer of a
// pipe, and judges the opened file, so that links may lead to it.
func readRegular(path string, limit int64) (source, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|dontWait, 0)
	if err != nil {
		return source{}, unreadable(path, err)
	}
	defer f.Close()

	info, err := f.Stat()
	switch {
	case err != nil:
		return source{}, unreadable(path, err)
	case info.IsDir():
		return source{}, &Error{Cause: errors.New("this is a directory"), Remedy: "name the file in it"}
	case !info.Mode().IsRegular():
		return source{}, &Error{Cause: errors.New("this is not a regular file"), Remedy: "name one, or a link to one"}
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return source{}, unreadable(path, err)
	}
	if int64(len(text)) > limit {
		return source{}, &Error{Cause: fmt.Errorf("this is larger than %d bytes", limit), Remedy: "is it the right file?"}
	}
	return source{name: path, text: text, info: info}, nil
}
