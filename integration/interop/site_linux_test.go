package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wimble-proxy/wimble/config"
)

// siteName is the name of both addresses behind the tunnel, which only the name
// server there knows.
const siteName = "web.site.example"

const pageText = "reached through the tunnel\n"

// site is what is behind wireguard-go: web servers on all its addresses, with
// TLS and without, and a name server.
type site struct {
	peer *foreign
	// ours is the configuration that leads there.
	ours  config.Tunnel
	names *nameServer
	mux   *http.ServeMux
	// dir is a folder that others can enter. It has the program, its
	// configuration and the site's certificate.
	dir, program, conf, cert string
	// pin is the hash of the certificate's public key, in Base64.
	pin string

	mu   sync.Mutex
	seen []string // guarded by mu: method, protocol, scheme, host and path of each request
}

// openSite starts it all, with the pages of serveWeb, behind an endpoint on
// loopback.
func openSite(t *testing.T) *site {
	t.Helper()
	ours, theirs := configure(t, true)
	peer := openForeign(t, theirs)
	ours.Peers[0].Endpoint = netip.AddrPortFrom(loopback4, peer.port(t)).String()
	return newSite(t, peer, ours, buildWimble(t, sharedDir(t)))
}

// newSite starts what is behind a peer, to which ours leads.
func newSite(t *testing.T, peer *foreign, ours config.Tunnel, program string) *site {
	t.Helper()
	ours.DNS = []netip.Addr{theirsInside[0].Addr()}
	s := &site{peer: peer, ours: ours, dir: sharedDir(t), program: program, mux: http.NewServeMux()}
	s.conf = writeWireGuard(t, s.dir, ours)
	s.names = serveNames(t, s.peer, map[string][]netip.Addr{siteName: {theirsInside[0].Addr(), theirsInside[1].Addr()}})
	s.serveWeb(t)
	return s
}

// serveWeb serves a page, a large body, and whoever uploads one.
func (s *site) serveWeb(t *testing.T) {
	t.Helper()
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, pageText) // the client notices
	})
	s.mux.HandleFunc("GET /body", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(w, speech(seedTo, amount)) // the client notices
	})
	s.mux.HandleFunc("PUT /body", func(w http.ResponseWriter, r *http.Request) {
		n, sum, err := digest(r.Body)
		fmt.Fprintf(w, "%s %d %x %v", r.TransferEncoding, n, sum, err)
	})
	certificate := s.certify(t)
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), // clients may leave as they like
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			s.mu.Lock()
			s.seen = append(s.seen, fmt.Sprintf("%s %s %s://%s%s", r.Method, r.Proto, scheme, r.Host, r.URL.Path))
			s.mu.Unlock()
			s.mux.ServeHTTP(w, r)
		}),
	}
	t.Cleanup(func() { server.Close() })
	for _, inside := range theirsInside {
		for port, wrap := range map[int]func(net.Listener) net.Listener{
			80: func(ln net.Listener) net.Listener { return ln },
			443: func(ln net.Listener) net.Listener {
				return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate}})
			},
		} {
			ln, err := s.peer.Listen(t.Context(), "tcp", at(inside, port))
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = server.Serve(wrap(ln)) }() // http.ErrServerClosed
		}
	}
}

// certify makes a certificate for the name and the addresses.
func (s *site) certify(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: siteName}, DNSNames: []string{siteName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	for _, inside := range theirsInside {
		template.IPAddresses = append(template.IPAddresses, inside.Addr().AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(public)
	s.pin = base64.StdEncoding.EncodeToString(hash[:])
	s.cert = filepath.Join(s.dir, "cert.pem")
	if err := os.WriteFile(s.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// requests is what was asked for since it was called last.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// writeTOML writes a configuration that has the tunnel to the site and more.
func (s *site) writeTOML(t *testing.T, more string) (file string) {
	t.Helper()
	file = filepath.Join(s.dir, "wimble.toml")
	writeFile(t, file, fmt.Sprintf("[[tunnel]]\nimport = %q\n%s", filepath.Base(s.conf), more))
	return file
}

// lookPath finds a program, or skips the test with the name of its package.
func lookPath(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		skip(t, fmt.Sprintf("this test needs %s: install the package %s", program, debian))
	}
	return path
}

// run runs a command and returns what it printed.
func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return out
}
