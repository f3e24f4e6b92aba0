package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// firstCells are the words in code style that begin the rows of the README's tables.
func firstCells(text string) (cells []string) {
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]*)`").FindAllStringSubmatch(text, -1) {
		cells = append(cells, row[1])
	}
	return cells
}

// TestReadmeCommands: every command and flag has its row, and there is no row of what does not exist.
func TestReadmeCommands(t *testing.T) {
	root := quietApp().rootCommand()
	var exist []string
	addFlags := func(flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) {
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			if f.Value.Type() != "bool" {
				name += " " + strings.ReplaceAll(f.Value.Type(), "|", `\|`)
			}
			if !slices.Contains(exist, name) {
				exist = append(exist, name)
			}
		})
	}
	addFlags(root.PersistentFlags())
	for _, cmd := range root.Commands() {
		exist = append(exist, strings.ReplaceAll(strings.TrimSuffix(cmd.Use, " [flags]"), "|", `\|`))
		if cmd.Name() != "completion" { // which is cobra's own, flags included
			addFlags(cmd.LocalFlags())
		}
	}
	cells := firstCells(readme(t))
	for _, name := range exist {
		if !slices.Contains(cells, name) {
			t.Errorf("the README has no row for %q", name)
		}
	}
	for _, cell := range cells {
		if _, err := strconv.Atoi(cell); err != nil && !slices.Contains(exist, cell) {
			t.Errorf("the README has a row for %q, which does not exist", cell)
		}
	}
	for _, code := range []int{exitOK, exitRuntime, exitUsage, exitConfig} {
		if !slices.Contains(cells, strconv.Itoa(code)) {
			t.Errorf("the README has no row for exit code %d", code)
		}
	}
}

// TestReadmeWay: the page and the README know the same steps.
func TestReadmeWay(t *testing.T) {
	text := readme(t)
	steps := regexp.MustCompile(`-> ([a-z]+)\b`).FindAllStringSubmatch(pageText, -1)
	if len(steps) < 15 {
		t.Fatalf("the page was not understood: %v", steps)
	}
	for _, step := range steps {
		if step[1] != "this" && !strings.Contains(text, "**"+step[1]+"**") {
			t.Errorf("the README does not explain the step %s", step[1])
		}
	}
}

// TestReadmeCode: the program in the README compiles and passes go vet. The go command sees it in a folder of this
// module that has no other Go file.
func TestReadmeCode(t *testing.T) {
	match := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(readme(t))
	if match == nil {
		t.Fatal("the README has no Go program")
	}
	module, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	code, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	replace := map[string]map[string]string{"Replace": {filepath.Join(module, "cmd", "readme.go"): code}}
	mapping, err := json.Marshal(replace)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{code: []byte(match[1]), overlay: mapping} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "-overlay", overlay, "./cmd")
	vet.Dir = module
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// TestReadmeCurl: the command to try is the one that the demo prints.
func TestReadmeCurl(t *testing.T) {
	want := fmt.Sprintf("curl -x socks5h://%v http://%v/", defaultListen, farAddress)
	if !strings.Contains(readme(t), want) {
		t.Errorf("the README does not have the line %q", want)
	}
}
