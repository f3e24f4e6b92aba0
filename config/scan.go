package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth is how many names a key of TOML may have, and how deep lists and
// tables may lie within each other: more than the format needs. Package toml
// takes seconds for a key of 10,000 names.
const maxDepth = 8

// maxValues is how many sections, keys and list items a file may have: several
// times those of 20,000 peers, and what is read within seconds.
const maxValues = 1 << 19

// lines says where the sections, keys and list items of a TOML text begin, by
// paths like "tunnel[0].peer[1].allowed_ips[2]". Lines count from 1.
type lines map[string]int

// of is the line of what stands at path, or else of the first thing within it,
// as a section that only other sections' names imply, or of what is around it.
func (l lines) of(path string) int {
	for path != "" {
		if line, ok := l[path]; ok {
			return line
		}
		if line := l.firstWithin(path); line > 0 {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

func (l lines) firstWithin(path string) (first int) {
	for other, line := range l {
		rest, within := strings.CutPrefix(other, path)
		if within && (rest[0] == '.' || rest[0] == '[') && (first == 0 || line < first) {
			first = line
		}
	}
	return first
}

// join is the path of a key in what is at path.
func join(path, name string) string {
	if !isBare(name) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// isBare reports whether name needs no quotes in TOML.
func isBare(name string) bool {
	for i := range len(name) {
		if !isWord(name[i]) {
			return false
		}
	}
	return name != ""
}

// index is the path of an item of the list at path.
func index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// A scanner finds the lines of a TOML text, which package toml does not tell,
// and refuses what that would take too long for. It sees the usual slips on its
// way and explains them without repeating the line, as the messages of package
// toml may not be shown: they hold parts of it, which may be of a key. All else
// that is not TOML it leaves to that package.
type scanner struct {
	file    string
	text    string // What is left.
	line    int
	lines   lines
	section string         // The path of the last header.
	counts  map[string]int // How many tables each [[section]] has so far.
}

// scan reads a text in UTF-8 without a byte order mark.
func scan(file, text string) (lines, error) {
	s := &scanner{file: file, text: text, line: 1, lines: make(lines), counts: make(map[string]int)}
	for s.skip(); s.text != ""; s.skip() {
		if err := s.statement(); err != nil {
			return nil, err
		}
		if s.skipBlanks(); !s.atEnd() {
			return nil, s.refuse("this line goes on where it should end", "write one key on each line, and texts in quotes")
		}
	}
	return s.lines, nil
}

func (s *scanner) statement() error {
	if s.text[0] == '[' {
		return s.header()
	}
	return s.keyValue(s.section, 0)
}

// atEnd reports whether nothing more but a comment is on the line.
func (s *scanner) atEnd() bool {
	return s.text == "" || s.text[0] == '\n' || s.text[0] == '#'
}

func (s *scanner) refuse(cause, remedy string) error {
	return &Error{At: Place{File: s.file, Line: s.line}, Cause: errors.New(cause), Remedy: remedy}
}

// header takes [name] or [[name]].
func (s *scanner) header() error {
	end, several := "]", false
	s.take("[")
	if s.take("[") {
		end, several = "]]", true
	}
	names, err := s.key()
	if err != nil {
		return err
	}
	if !s.take(end) {
		return s.refuse("this section's name does not end with "+end, "write it like [[tunnel]] or [gateway]")
	}
	s.section = s.find(names, several)
	if line, twice := s.lines[s.section]; twice {
		return s.refuse(fmt.Sprintf("line %d begins this section already", line),
			"make one of the two, or write it in double brackets like [[tunnel.peer]] if there can be several")
	}
	return s.note(s.section)
}

// note keeps the current line as that of what is at path.
func (s *scanner) note(path string) error {
	if len(s.lines) >= maxValues {
		return s.refuse(fmt.Sprintf("this file has more than %d sections, keys and list items", maxValues), "is it the right file?")
	}
	s.lines[path] = s.line
	return nil
}

// find is the path of a header's names: where there are several of a section,
// the last is meant.
func (s *scanner) find(names []string, several bool) string {
	path := ""
	for i, name := range names {
		path = join(path, name)
		if several && i == len(names)-1 {
			s.counts[path]++
		}
		if n := s.counts[path]; n > 0 {
			path = index(path, n-1)
		}
	}
	return path
}

// keyValue takes name = value, which belongs to what is at path.
func (s *scanner) keyValue(path string, depth int) error {
	names, err := s.key()
	if err != nil {
		return err
	}
	if !s.take("=") {
		return s.refuse("there is no = behind the name (not shown, it may be a key)", "write it like mtu = 1420, or begin a comment with #")
	}
	for _, name := range names {
		path = join(path, name)
	}
	if line, twice := s.lines[path]; twice {
		return s.refuse(fmt.Sprintf("line %d gives this key already", line), "keep one of the two")
	}
	if err := s.note(path); err != nil {
		return err
	}
	s.skipBlanks()
	return s.value(path, depth)
}

// key takes names with dots between them.
func (s *scanner) key() (names []string, err error) {
	for len(names) < maxDepth {
		s.skipBlanks()
		name, err := s.name()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		s.skipBlanks()
		if !s.take(".") {
			return names, nil
		}
	}
	return nil, s.refuse(fmt.Sprintf("this name has more than %d parts", maxDepth), "is it the right file?")
}

// name takes a part of a key, in quotes or without.
func (s *scanner) name() (string, error) {
	if s.text != "" && (s.text[0] == '"' || s.text[0] == '\'') {
		return s.quotedName(s.text[:1])
	}
	n := 0
	for n < len(s.text) && isWord(s.text[n]) {
		n++
	}
	if n == 0 {
		return "", s.refuse("there is no name of a key or section here (the line is not shown, it may be a key)", "write it like mtu = 1420, or begin a comment with #")
	}
	name := s.text[:n]
	s.text = s.text[n:]
	return name, nil
}

// quotedName takes a name in quotes. With escapes, which no key of ours needs,
// it would not be found again by its path.
func (s *scanner) quotedName(quote string) (string, error) {
	before := s.text
	if err := s.quoted(quote); err != nil {
		return "", err
	}
	name := before[1 : len(before)-len(s.text)-1]
	if quote == `"` && strings.Contains(name, `\`) {
		return "", s.refuse("there is an escape in the name of a key", "write it without")
	}
	return name, nil
}

// value takes what stands behind a "=" or in a list.
func (s *scanner) value(path string, depth int) error {
	if depth > maxDepth {
		return s.refuse("lists or tables lie too deep within each other here", "is it the right file?")
	}
	switch {
	case s.atEnd():
		return s.refuse("there is no value", "write one or remove the line")
	case strings.HasPrefix(s.text, `"""`), strings.HasPrefix(s.text, "'''"):
		return s.multiline(s.text[:3])
	case s.text[0] == '"' || s.text[0] == '\'':
		return s.quoted(s.text[:1])
	case s.take("["):
		return s.list(path, depth)
	case s.take("{"):
		return s.table(path, depth)
	}
	return s.bare()
}

// quoted takes a text that ends on its line.
func (s *scanner) quoted(quote string) error {
	for i := 1; i < len(s.text) && s.text[i] != '\n'; i++ {
		switch {
		case quote == `"` && (strings.HasPrefix(s.text[i:], `\\`) || strings.HasPrefix(s.text[i:], `\"`)):
			i++
		case s.text[i] == quote[0]:
			s.text = s.text[i+1:]
			return nil
		}
	}
	return s.refuse("the quote that begins here is not closed on its line", "close it with "+quote)
}

// multiline takes a text in three quotes. One or two more may stand before the
// last three.
func (s *scanner) multiline(quotes string) error {
	newlines := 0
	for i := 3; i < len(s.text); i++ {
		switch {
		case s.text[i] == '\n':
			newlines++
		case quotes == `"""` && (strings.HasPrefix(s.text[i:], `\\`) || strings.HasPrefix(s.text[i:], `\"`)):
			i++
		case strings.HasPrefix(s.text[i:], quotes):
			rest := s.text[i+3:]
			for more := 0; more < 2 && strings.HasPrefix(rest, quotes[:1]); more++ {
				rest = rest[1:]
			}
			s.text = rest
			s.line += newlines
			return nil
		}
	}
	return s.refuse("the three quotes that begin here are not closed", "close them with "+quotes)
}

// bare takes a value without quotes. There is no use here for numbers with
// fractions and for dates.
func (s *scanner) bare() error {
	n := strings.IndexAny(s.text, " \t\r\n,]}#")
	if n < 0 {
		n = len(s.text)
	}
	token := s.text[:n]
	if _, err := strconv.ParseInt(token, 0, 64); err != nil && token != "true" && token != "false" {
		return s.refuse("this value is no whole number, nor true or false", `put texts in quotes, like endpoint = "vpn.example.com:51820"`)
	}
	s.text = s.text[n:]
	return nil
}

// list takes what stands behind a "[".
func (s *scanner) list(path string, depth int) error {
	for i := 0; ; i++ {
		if s.skip(); s.take("]") {
			return nil
		}
		item := index(path, i)
		if err := s.note(item); err != nil {
			return err
		}
		if err := s.value(item, depth+1); err != nil {
			return err
		}
		if done, err := s.next("]", `write it like ["10.0.0.0/8", "fd00::/8"]`); done || err != nil {
			return err
		}
	}
}

// table takes what stands behind a "{".
func (s *scanner) table(path string, depth int) error {
	for {
		if s.skip(); s.take("}") {
			return nil
		}
		if err := s.keyValue(path, depth+1); err != nil {
			return err
		}
		if done, err := s.next("}", "close it on its line, or write a section"); done || err != nil {
			return err
		}
	}
}

// next takes the comma behind an item or the end of what it is in.
func (s *scanner) next(end, remedy string) (done bool, err error) {
	s.skip()
	switch {
	case s.take(","):
		return false, nil
	case s.take(end):
		return true, nil
	}
	return false, s.refuse("there should be a comma or "+end+" before this", remedy)
}

// take takes the next characters if they are these.
func (s *scanner) take(these string) (ok bool) {
	s.text, ok = strings.CutPrefix(s.text, these)
	return ok
}

// skipBlanks goes to what is next on the line.
func (s *scanner) skipBlanks() {
	s.text = strings.TrimLeft(s.text, " \t\r")
}

// skip goes to what is next in the text.
func (s *scanner) skip() {
	for s.skipBlanks(); s.text != ""; s.skipBlanks() {
		switch s.text[0] {
		case '\n':
			s.line++
			s.text = s.text[1:]
		case '#':
			s.text = s.text[len(firstLine(s.text)):]
		default:
			return
		}
	}
}

// firstLine is text up to its first newline.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
