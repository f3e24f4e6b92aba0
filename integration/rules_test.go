package integration

import (
	"path"
	"strings"
	"testing"
)

// TestRules shows that each rule can fail, and that it fails only when it
// should: each file is checked as if it lay in the module.
func TestRules(t *testing.T) {
	tests := []struct {
		name string
		path string
		text string
		want string // part of the only complaint; "" for none
	}{
		{"pure code", "wireguard/engine/x.go", `
			import ("errors"; "net/netip"; "sync/atomic"; "time"; "github.com/gaissmai/bart"; "golang.org/x/crypto/blake2s")
			var ErrX = errors.New("x")
			var table = [...]string{"a", "b"}
			var zero [12]byte
			var byName = map[string]func() []byte{"a": func() []byte { return make([]byte, 3) }}
			func f(now time.Time, a *atomic.Int64, p netip.Prefix, t bart.Lite) { x := table; x[0] = zero[:]; blake2s.New256(nil) }`, ""},
		{"package without a row", "util/x.go", ``, "util: the layout has no row"},
		{"recipe", "integration/recipes/docker/x.go", `import _ "github.com/wimble-proxy/wimble/netstack"`, ""},
		{"import across the layout", "proxy/x.go", `import "github.com/wimble-proxy/wimble/netstack"`, "proxy/x.go:2: proxy may not import netstack: it speaks"},
		{"import up the layout", "wireguard/message/x.go", `import _ "github.com/wimble-proxy/wimble/wireguard/key"`, "may not import wireguard/key"},
		{"dot import", "proxy/x.go", `import . "strings"`, "into its own names"},
		{"gVisor", "forward/x.go", `import "gvisor.dev/gvisor/pkg/tcpip"`, "only netstack may import gVisor"},
		{"init", "config/x.go", `func init() {}`, "an init function runs"},
		{"method called init", "config/x.go", `func (q *queue) init() {}`, ""},

		{"socket in a pure package", "wireguard/engine/x.go", `import "net"`, "may not import net: it opens no socket"},
		{"logger in a pure package", "wireguard/key/x.go", `import "log/slog"`, "may not import log/slog"},
		{"randomness in a pure package", "wireguard/key/x.go", `import "math/rand/v2"`, "may not import math/rand/v2"},
		{"system in a pure package", "wireguard/handshake/x.go", `import "os"`, "may not import os"},
		{"lock in a pure package", "wireguard/engine/x.go", `import "sync"`, "may not import sync:"},
		{"context in a pure package", "wireguard/engine/x.go", `import "context"`, "may not import context"},
		{"other module in a pure package", "wireguard/engine/x.go", `import "golang.org/x/sys/cpu"`, "standard library, x/crypto and bart alone"},
		{"same imports elsewhere", "wireguard/x.go", `import ("context"; "log/slog"; "os"; "sync"; "golang.org/x/sys/unix")`, ""},
		{"clock in a pure package", "wireguard/engine/x.go", `
			import clock "time"
			func f() { clock.Now() }`, "may not call time.Now"},
		{"goroutine in a pure package", "wireguard/engine/x.go", `func f() { go f() }`, "starts no goroutine"},
		{"GenerateKey", "wireguard/key/x.go", `
			import ("crypto/ecdh"; "io")
			func f(r io.Reader) { ecdh.X25519().GenerateKey(r) }`, "ignores its reader"},

		{"once for the process", "netstack/x.go", `import "sync"; var silence = sync.OnceFunc(func() {})`, ""},
		{"lock variable", "netstack/x.go", `import "sync"; var mu sync.Mutex`, "mu is a package variable that can change"},
		{"pointer variable", "proxy/x.go", `var shared = &server{}`, "shared is a package variable that can change"},
		{"lock variable", "proxy/x.go", `
			import "sync"
			var mu sync.Mutex`, "mu is a package variable"},
		{"atomic variable", "forward/x.go", `
			import "sync/atomic"
			var n atomic.Int64`, "n is a package variable"},
		{"channel variable", "forward/x.go", `var wake = make(chan struct{})`, "wake is a package variable"},
		{"assertion", "wireguard/x.go", `var _ error = (*failure)(nil)`, ""},
		{"variable assigned", "config/x.go", `
			var count int
			func f() { count = 1 }`, "writes to count"},
		{"variable counted", "config/x.go", `
			var count [3]int
			func f() { count[1]++ }`, "writes to count"},
		{"variable's address", "config/x.go", `
			var table struct{ n int }
			func f() *int { return &table.n }`, "writes to table"},
		{"table emptied", "config/x.go", `
			var table = map[string]int{}
			func f() { clear(table) }`, "writes to table"},
		{"table looped into", "config/x.go", `
			var last int
			func f(s []int) { for _, last = range s {} }`, "writes to last"},

		{"dialer", "proxy/x.go", `
			import "net"
			func f() { var d net.Dialer; _ = d }`, "uses the host's network by net.Dialer"},
		{"listener as a type", "proxy/x.go", `
			import "net"
			func f(net.Listener, net.Conn) {}`, ""},
		{"listen", "forward/x.go", `
			import "net"
			func f() { net.ListenTCP("tcp", nil) }`, "net.ListenTCP"},
		{"resolver", "netstack/x.go", `
			import n "net"
			func f() { n.DefaultResolver.PreferGo = true }`, "net.DefaultResolver"},
		{"address resolved", "netstack/x.go", `
			import "net"
			func f() { net.ResolveUDPAddr("udp", "name:1") }`, "net.ResolveUDPAddr"},
		{"HTTP client of the host", "cmd/wimble/x.go", `
			import "net/http"
			func f() { http.Get("http://x") }`, "net/http.Get"},
		{"socket by system call", "wireguard/x_linux.go", `
			import "golang.org/x/sys/unix"
			func f() { unix.Socket(0, 0, 0) }`, "unix.Socket"},
		{"the declared place", "wireguard/socket.go", `
			import "net"
			func f() { net.Listen("tcp", "") }`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := parse(test.path, "package x\n"+strings.TrimLeft(test.text, "\n"))
			if err != nil {
				t.Fatal(err)
			}
			var complaints []string
			for _, check := range rules {
				complaints = append(complaints, check(&pkg{dir: path.Dir(test.path), files: []*source{s}})...)
			}
			got := strings.Join(complaints, "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) || len(complaints) > 1 {
				t.Errorf("complaints are:\n%s\nand should be: %q", got, test.want)
			}
		})
	}
}
