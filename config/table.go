package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// A table is a section of a TOML file, or the file as a whole.
type table struct {
	file   string
	lines  lines
	kind   string         // What it is in the list sections: "tunnel.peer".
	path   string         // Where it is, for lines: "tunnel[0].peer[1]".
	title  string         // What messages call it: "tunnel 1: peer 2".
	values map[string]any // As package toml gives them.
}

// A value is what a table has for one of its keys.
type value struct {
	table *table
	key   string
	raw   any
}

func (t *table) has(key string) bool {
	_, ok := t.values[key]
	return ok
}

// given is the key, or "" for the table itself when there is none.
func (t *table) given(key string) string {
	if t.has(key) {
		return key
	}
	return ""
}

// place is where a key stands; "" is the table itself.
func (t *table) place(key string) Place {
	path := t.path
	if key != "" {
		path = join(t.path, key)
	}
	return Place{File: t.file, Line: t.lines.of(path), Section: t.title, Key: key}
}

// itemPlace is where an item of a list stands, or else its key.
func (t *table) itemPlace(key string, i int) Place {
	place := t.place(key)
	if line, ok := t.lines[index(join(t.path, key), i)]; ok {
		place.Line = line
	}
	return place
}

// each calls read with the values that there are, in the order of the list
// sections, after it has refused the keys that are not in that list.
func (t *table) each(read func(value) error) error {
	known := sections[t.kind]
	unknown := slices.DeleteFunc(slices.Collect(maps.Keys(t.values)), func(key string) bool {
		return slices.Contains(known, key)
	})
	if len(unknown) > 0 {
		return t.unknown(slices.Min(unknown))
	}
	for _, key := range known {
		if !t.has(key) {
			continue
		}
		if err := read(value{table: t, key: key, raw: t.values[key]}); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the error for a key that is not in the list of its section.
func (t *table) unknown(key string) error {
	place := t.place(key)
	if slices.Contains(later[t.kind], key) {
		return &Error{At: place, Cause: errors.New("this version of wimble does not have that yet"), Remedy: "remove it"}
	}
	place.Key = ""
	if suggest(key, sections[t.kind]) == "" {
		for _, kind := range slices.Sorted(maps.Keys(sections)) {
			if slices.Contains(sections[kind], key) {
				return &Error{At: place, Cause: fmt.Errorf("%s does not belong here", key), Remedy: "move it to " + header(kind)}
			}
		}
	}
	what := "key"
	if kindOf(t.values[key]) == aSection {
		what = "section"
	}
	return unknown(place, what, key, sections[t.kind], isHarmless(key))
}

// header is how a section of this kind begins.
func header(kind string) string {
	switch kind {
	case "":
		return "the top of the file"
	case "gateway":
		return "[" + kind + "]"
	}
	return "[[" + kind + "]]"
}

func (v value) place() Place {
	return v.table.place(v.key)
}

// at gives the place of v to an error of the functions that read one value.
func (v value) at(err error) error {
	if err == nil {
		return nil
	}
	return at(v.place(), err)
}

// refuse is an error at the place of v.
func (v value) refuse(remedy, cause string, args ...any) error {
	return &Error{At: v.place(), Cause: fmt.Errorf(cause, args...), Remedy: remedy}
}

// mismatch is the error for a value of the wrong kind. It does not show it.
func (v value) mismatch(want, remedy string) error {
	return v.refuse(remedy, "this is %s, and %s is needed", kindOf(v.raw), want)
}

const aSection = "a section"

// kindOf says in words what package toml found.
func kindOf(raw any) string {
	switch raw.(type) {
	case string:
		return "a text"
	case int64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any, []map[string]any:
		return aSection
	}
	return "something else"
}

// readText reads a text by one of the functions that read a single value.
func readText[T any](v value, parse func(string) (T, error)) (T, error) {
	s, ok := v.raw.(string)
	if !ok {
		var none T
		return none, v.mismatch("a text", "put it in quotes")
	}
	x, err := parse(s)
	return x, v.at(err)
}

// readNumber reads a whole number by a function that reads it from its digits.
func readNumber[T any](v value, parse func(string) (T, error)) (T, error) {
	n, ok := v.raw.(int64)
	if !ok {
		var none T
		return none, v.mismatch("a number", "write it without quotes")
	}
	x, err := parse(strconv.FormatInt(n, 10))
	return x, v.at(err)
}

// readList reads a list of texts. Item i of the result is item i of the list.
func readList[T any](v value, parse func(string) (T, error)) ([]T, error) {
	items, ok := v.raw.([]any)
	if !ok {
		return nil, v.mismatch("a list", `write it in brackets, like ["a", "b"]`)
	}
	list := make([]T, 0, len(items))
	for i, item := range items {
		s, ok := item.(string)
		if !ok {
			return nil, &Error{
				At:     v.table.itemPlace(v.key, i),
				Cause:  fmt.Errorf("item %d of the list is %s, and a text is needed", i+1, kindOf(item)),
				Remedy: "put it in quotes",
			}
		}
		x, err := parse(s)
		if err != nil {
			return nil, at(v.table.itemPlace(v.key, i), err)
		}
		list = append(list, x)
	}
	return list, nil
}

// readSections reads the tables that [[name]] or a list of {} gives.
func readSections(v value) ([]*table, error) {
	var all []map[string]any
	switch raw := v.raw.(type) {
	case []map[string]any:
		all = raw
	case []any:
		for _, item := range raw {
			values, ok := item.(map[string]any)
			if !ok {
				return nil, v.mismatch(aSection, "write "+v.header())
			}
			all = append(all, values)
		}
	case map[string]any:
		return nil, v.refuse("write "+v.header(), "there can be several of this section")
	default:
		return nil, v.mismatch(aSection, "write "+v.header())
	}
	tables := make([]*table, len(all))
	for i, values := range all {
		tables[i] = v.section(values)
		tables[i].path = index(tables[i].path, i)
		tables[i].title += " " + strconv.Itoa(i+1)
	}
	return tables, nil
}

// readSection reads the table that [name] gives.
func readSection(v value) (*table, error) {
	switch raw := v.raw.(type) {
	case map[string]any:
		return v.section(raw), nil
	case []map[string]any:
		return nil, v.refuse("write "+v.header(), "there can be only one of this section")
	}
	return nil, v.mismatch(aSection, "write "+v.header())
}

// header is how the section begins that v should be.
func (v value) header() string {
	return header(join(v.table.kind, v.key))
}

func (v value) section(values map[string]any) *table {
	t := &table{
		file:   v.table.file,
		lines:  v.table.lines,
		kind:   join(v.table.kind, v.key),
		path:   join(v.table.path, v.key),
		title:  v.key,
		values: values,
	}
	if v.table.title != "" {
		t.title = v.table.title + ": " + v.key
	}
	return t
}
