package integration

import (
	"bufio"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// row is what the layout says about one package.
type row struct {
	// imports are the packages of ours that it may import.
	imports []string
	// pure: a function of its arguments, which a test runs in virtual time.
	pure bool
	why  string
}

// layout is the whole project. A new package needs a row here, and so a reason.
var layout = map[string]row{
	"cmd/wimble": {
		imports: []string{"proxy", "forward", "netstack", "config", "wireguard", "wireguard/engine", "wireguard/key", "wireguard/uapi"},
		why:     "it wires packages together; handshakes and messages are the engine's business",
	},
	"proxy": {
		imports: []string{"forward"},
		why:     "it speaks its protocol and calls a dial function; what is behind that is not its business",
	},
	"forward": {
		why: "it carries connections, whoever made them",
	},
	"netstack": {
		imports: []string{"wireguard", "wireguard/key", "config"},
		why:     "it joins stack and Device; who uses the connections is not its business",
	},
	"config": {
		imports: []string{"wireguard/key"},
		why:     "it turns text into checked values, and nothing runs in it",
	},
	"wireguard": {
		imports: []string{"wireguard/engine", "wireguard/handshake", "wireguard/message", "wireguard/key"},
		why:     "it is the shell around the engine and must be usable without a stack or a configuration file",
	},
	"wireguard/uapi": {
		imports: []string{"wireguard", "wireguard/key"},
		why:     "it translates between text and the Device's typed calls",
	},
	"wireguard/engine": {
		imports: []string{"wireguard/handshake", "wireguard/message", "wireguard/key"}, pure: true,
		why: "the protocol knows no socket and no stack",
	},
	"wireguard/handshake": {
		imports: []string{"wireguard/message", "wireguard/key"}, pure: true,
		why: "the handshake knows no session and no timer",
	},
	"wireguard/message": {
		pure: true,
		why:  "it knows bytes and no keys",
	},
	"wireguard/key": {
		pure: true,
		why:  "everything depends on it",
	},
	"integration": {
		imports: []string{"cmd/wimble", "proxy", "forward", "netstack", "config", "wireguard", "wireguard/uapi", "wireguard/engine", "wireguard/handshake", "wireguard/message", "wireguard/key", "integration/bench/service"},
		why:     "it tests the whole",
	},
}

// topLevel is what may lie in the root, besides dot files, dot folders and
// what .gitignore names there.
var topLevel = []string{
	"cmd", "netstack", "proxy", "forward", "config", "wireguard", "integration",
	"go.mod", "go.sum", "README.md", "LICENSE",
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	allowed := slices.Concat(topLevel, ignoredAtRoot(t))
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) {
			t.Errorf("%s does not belong at the top: what lies there is fixed, so that a stranger sees the parts at one glance", name)
		}
	}
	for _, name := range topLevel {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s is missing at the top, where everybody looks for it: %v", name, err)
		}
	}
}

// ignoredAtRoot is what .gitignore names at the top, like a program that
// somebody built there.
func ignoredAtRoot(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "/"); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestLayout(t *testing.T) {
	for _, p := range packages(t) {
		for _, check := range rules {
			for _, complaint := range check(p) {
				t.Error(complaint)
			}
		}
	}
}

// A rule finds what a package does and may not: sentences that say where and
// why.
type rule func(p *pkg) []string

var rules = []rule{ruleRow, ruleImports, ruleStack, ruleInit, ruleVariables, ruleHostCalls, rulePureImports, rulePureCode}

// rowOf finds the row of a package. Recipes are folders of integration.
func rowOf(dir string) (row, bool) {
	if strings.HasPrefix(dir, "integration/") {
		dir = "integration"
	}
	r, ok := layout[dir]
	return r, ok
}

func ruleRow(p *pkg) []string {
	if _, ok := rowOf(p.dir); ok {
		return nil
	}
	return []string{p.dir + ": the layout has no row for this package: say there what it may import, and why it is not part of another"}
}

func ruleImports(p *pkg) (complaints []string) {
	r, _ := rowOf(p.dir)
	for _, s := range p.files {
		s.imports(func(spec *ast.ImportSpec, to string) {
			if spec.Name != nil && spec.Name.Name == "." {
				complaints = append(complaints, s.at(spec, "imports %s into its own names: neither a reader nor this test sees then whose they are", to))
			}
			ours, ok := strings.CutPrefix(to, module+"/")
			if ok && !slices.Contains(r.imports, ours) {
				complaints = append(complaints, s.at(spec, "%s may not import %s: %s", p.dir, ours, r.why))
			}
		})
	}
	return complaints
}

func ruleStack(p *pkg) (complaints []string) {
	if p.dir == "netstack" {
		return nil
	}
	for _, s := range p.files {
		s.imports(func(spec *ast.ImportSpec, to string) {
			if strings.HasPrefix(to, "gvisor.dev/") {
				complaints = append(complaints, s.at(spec, "only netstack may import gVisor: it has no releases and changes as it likes, and one package must be able to follow"))
			}
		})
	}
	return complaints
}

func ruleInit(p *pkg) (complaints []string) {
	for _, s := range p.files {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				complaints = append(complaints, s.at(f, "an init function runs because something was imported, and nobody who reads main sees it: call a function from there"))
			}
		}
	}
	return complaints
}

// foreignEngines are parts of module paths.
var foreignEngines = []string{"wireguard", "boringtun", "gotatun", "amnezia", "awg", "tailscale", "netbird", "noisysockets"}

func TestNoForeignEngine(t *testing.T) {
	for _, m := range required(t) {
		for _, engine := range foreignEngines {
			if strings.Contains(strings.ToLower(m), engine) {
				t.Errorf("go.mod requires %s: the engine is our own, and tests against another one live in the nested module %s", m, nested)
			}
		}
	}
}

// required lists what go.mod names besides the module itself, replacements
// included.
func required(t *testing.T) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var modules []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "//")
		for _, word := range strings.Fields(line) {
			if strings.Contains(word, "/") && word != module {
				modules = append(modules, word)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(modules) == 0 {
		t.Fatal("go.mod was not understood: it seems to require nothing")
	}
	return modules
}
