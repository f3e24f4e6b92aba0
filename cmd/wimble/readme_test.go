package main

import (
	"crypto/rand"
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

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows are the rows of the README's tables whose first column has this title: what is in code style there, and the rest.
func rows(t *testing.T, title string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	in := false
	for line := range strings.Lines(readme(t)) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|")
		switch {
		case len(cells) < 4:
			in = false
		case strings.TrimSpace(cells[1]) == title:
			in = true
		case in:
			first := strings.Trim(strings.TrimSpace(cells[1]), "`")
			found[strings.ReplaceAll(first, "\x00", "|")] = strings.TrimSpace(cells[len(cells)-2])
		}
	}
	delete(found, "---")
	return found
}

// sameWords reports what is in one of two lists only: what exists, and what the README has.
func sameWords(t *testing.T, what string, exist []string, table map[string]string) {
	t.Helper()
	for _, word := range exist {
		if _, ok := table[word]; !ok {
			t.Errorf("the README has no row for the %s %q", what, word)
		}
	}
	for word := range table {
		if !slices.Contains(exist, word) {
			t.Errorf("the README has a row for the %s %q, which does not exist", what, word)
		}
	}
}

// TestReadmeCommands: every command has its row, and there is no row of what does not exist.
func TestReadmeCommands(t *testing.T) {
	var exist []string
	for _, cmd := range quietApp().rootCommand().Commands() {
		if cmd.Runnable() || cmd.HasSubCommands() {
			exist = append(exist, strings.TrimSuffix(cmd.Use, " [flags]"))
		}
	}
	sameWords(t, "command", exist, rows(t, "Command"))
}

// TestReadmeFlags: every flag has its row, which says what its help says.
func TestReadmeFlags(t *testing.T) {
	root := quietApp().rootCommand()
	table := rows(t, "Flag")
	var exist []string
	addFlags := func(flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) {
			name := "--" + f.Name
			if f.Shorthand != "" {
				name = "-" + f.Shorthand + ", " + name
			}
			if f.Value.Type() != "bool" {
				name += " " + f.Value.Type()
			}
			if !slices.Contains(exist, name) {
				exist = append(exist, name)
			}
			if says, _, _ := strings.Cut(f.Usage, " (default"); !strings.HasPrefix(table[name], says) {
				t.Errorf("of %s the help says %q, and the README %q", name, says, table[name])
			}
		})
	}
	addFlags(root.PersistentFlags())
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" { // which is cobra's own, flags included
			addFlags(cmd.LocalFlags())
		}
	}
	sameWords(t, "flag", exist, table)
}

// TestReadmeExitCodes: every exit code has its row.
func TestReadmeExitCodes(t *testing.T) {
	var exist []string
	for _, code := range []int{exitOK, exitRuntime, exitUsage, exitConfig, exitTimeout, exitExec, exitNotRun, exitNotFound, exitSignal} {
		exist = append(exist, strconv.Itoa(code))
	}
	sameWords(t, "exit code", exist, rows(t, "Exit code"))
}

// TestReadmeVariables: every variable has its row, and its line in the help, and they say the same.
func TestReadmeVariables(t *testing.T) {
	table := rows(t, "Variable")
	sameWords(t, "variable", config.Variables(), table)
	help := environmentTopic().Long
	for _, name := range config.Variables() {
		match := regexp.MustCompile(`(?m)^  ` + name + ` +(.*)$`).FindStringSubmatch(help)
		if match == nil || !strings.HasPrefix(table[name], match[1]) {
			t.Errorf("of %s the help says %q, and the README %q", name, match, table[name])
		}
	}
}

// TestReadmeKeys: every key of a configuration has its line in the help, which the README repeats; and these lines are a
// configuration that works.
func TestReadmeKeys(t *testing.T) {
	if !strings.Contains(readme(t), "```toml\n"+configurationText+"```\n") {
		t.Error("the README does not have the text of configuration.toml")
	}
	var exist []string
	section := ""
	for line := range strings.Lines(configurationText) {
		if header := regexp.MustCompile(`^\[+([a-z.]+)\]+`).FindStringSubmatch(line); header != nil {
			section = header[1]
		}
		if key := regexp.MustCompile(`^(?:# )?([a-z_]+) = .*? # \S`).FindStringSubmatch(line); key != nil {
			exist = append(exist, section+"."+key[1])
		}
	}
	for _, key := range config.Keys() {
		if !slices.Contains(exist, key) {
			t.Errorf("the help has no line for the key %s", key)
		}
	}
	for _, key := range exist {
		if !slices.Contains(config.Keys(), key) {
			t.Errorf("the help has a line for the key %s, which does not exist", key)
		}
	}
	dir := t.TempDir()
	fill, files := sampleFiles(t)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, warnings, err := config.ParseTOML(filepath.Join(dir, "wimble.toml"), []byte(fill.Replace(configurationText))); err != nil || len(warnings) > 0 {
		t.Errorf("it does not work: %v, %v", err, warnings)
	}
}

// sampleFiles are the files that configuration.toml names, and what is to be put in its place.
func sampleFiles(t *testing.T) (fill *strings.Replacer, files map[string]string) {
	t.Helper()
	near, far, err := demoTunnels()
	if err != nil {
		t.Fatal(err)
	}
	psk, err := key.NewPreshared(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("/run/secrets/office", "office.key", `public_key = "…"`, fmt.Sprintf("public_key = %q", near.Peers[0].PublicKey)),
		map[string]string{
			"office.key": near.PrivateKey.Base64(), "office.psk": psk.Base64(), "users": "ann:secret\n",
			"mullvad.conf": fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = 10.1.0.2/32\n[Peer]\nPublicKey = %v\nAllowedIPs = 0.0.0.0/0\n",
				far.PrivateKey.Base64(), near.PrivateKey.Public()),
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

// TestReadmeLines: each command line with wimble in it is understood.
func TestReadmeLines(t *testing.T) {
	lines := regexp.MustCompile("(?m)(?:^\\$ |- run: |ProxyCommand='|`)wimble ([a-z]+(?: [^\n'`&|]+)?)").FindAllStringSubmatch(readme(t), -1)
	if len(lines) < 15 {
		t.Fatalf("the command lines were not understood: %q", lines)
	}
	for _, line := range lines {
		args := strings.Fields(line[1])
		if args[0] == "help" { // whose pages are found in another way
			continue
		}
		cmd, rest, err := quietApp().rootCommand().Find(args)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil && len(args) > 1 { // a word alone is the command's name
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("wimble %s: %v", line[1], err)
		}
	}
}

// TestReadmeCurl: the command to try is the one that the demo prints.
func TestReadmeCurl(t *testing.T) {
	want := fmt.Sprintf("curl -x socks5h://%v http://%v/", defaultListen, farAddress)
	if !strings.Contains(readme(t), want) {
		t.Errorf("the README does not have the line %q", want)
	}
}
