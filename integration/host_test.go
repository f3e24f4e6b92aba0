package integration

import (
	"go/ast"
	"slices"
	"strings"
)

// hostFiles are the declared places where the host's sockets and resolver are
// used: cmd's functions, which the whole program is given, and the defaults of
// the library.
var hostFiles = []string{
	"cmd/wimble/host.go",
	"wireguard/socket.go",
	"wireguard/endpoints.go",
}

// hostCalls are names of packages that reach the host's network, or the start
// of such names when they end in a star.
var hostCalls = map[string][]string{
	"net":                   {"Dial*", "Listen*", "Lookup*", "Resolve*", "DefaultResolver", "Resolver"},
	"net/http":              {"Get", "Head", "Post*", "DefaultClient", "DefaultTransport", "ListenAndServe*"},
	"crypto/tls":            {"Dial*", "Listen"},
	"syscall":               {"Socket", "Connect", "Bind"},
	"golang.org/x/sys/unix": {"Socket", "Connect", "Bind"},
}

// ruleHostCalls: nothing that a client asked for leaves by the host, which can
// be shown because there is one place to look at and to replace in a test.
func ruleHostCalls(p *pkg) (complaints []string) {
	if p.dir == "integration" || strings.HasPrefix(p.dir, "integration/") {
		return nil // tests, and the machines that they run
	}
	for _, s := range p.files {
		if slices.Contains(hostFiles, s.path) {
			continue
		}
		s.uses(func(n ast.Node, from, name string) {
			for _, call := range hostCalls[from] {
				stem, open := strings.CutSuffix(call, "*")
				if name == call || open && strings.HasPrefix(name, stem) && name != "Listener" {
					complaints = append(complaints, s.at(n, "uses the host's network by %s.%s: a tunnel that leaks looks just like this; take a function from the configuration, which %s fills in", from, name, hostFiles[0]))
				}
			}
		})
	}
	return complaints
}
