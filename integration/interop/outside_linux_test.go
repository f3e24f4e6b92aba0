package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wimble-proxy/wimble/wireguard"
)

// The two ends of the only way out of the namespace of a test.
var (
	hostAddrs    = [2]string{"192.0.2.1", "2001:db8::1"}
	outsideAddrs = [2]string{"192.0.2.9", "2001:db8::9"}
)

// inNamespace is set in the environment of the process that enterNamespace
// starts: the path of ip(8).
const inNamespace = "INTEROP_IN_NAMESPACE"

// enterNamespace runs a test again in namespaces of its own, for which it takes
// no privilege, and reports whether this is that run already.
func enterNamespace(t *testing.T, namespaces uintptr, environment ...string) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	path := lookPath(t, "ip", "iproute2")
	self := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.parallel=1")
	self.Env = append(append(os.Environ(), inNamespace+"="+path), environment...)
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | namespaces,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := self.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		skip(t, "this test needs user namespaces, which this system forbids")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}

// outsideNet is the rest of the world for a test that runs in a namespace of
// its own: another namespace, where every packet goes that leaves the first.
type outsideNet struct {
	work chan func()
}

// openOutside makes it, and leads there whatever has no other way, and all
// questions for names.
func openOutside(t *testing.T) *outsideNet {
	t.Helper()
	o := &outsideNet{work: make(chan func())}
	thread := make(chan int)
	failed := make(chan error, 1)
	go func() {
		// The thread ends with this goroutine, as it is not unlocked.
		runtime.LockOSThread()
		failed <- unix.Unshare(unix.CLONE_NEWNET)
		thread <- unix.Gettid()
		for f := range o.work {
			f()
		}
	}()
	t.Cleanup(func() { close(o.work) })
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	there := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), <-thread)
	// The neighbours know each other, so that nobody has to ask for them.
	const near, far = "02:00:00:00:00:01", "02:00:00:00:00:09"
	ip(t, "link", "set", "lo", "up")
	ip(t, "link", "add", "near", "address", near, "type", "veth", "peer", "name", "far", "address", far, "netns", there)
	o.ip(t, "link", "set", "lo", "up")
	for i, bits := range []string{"/24", "/64"} {
		ip(t, "address", "add", hostAddrs[i]+bits, "dev", "near", "nodad")
		o.ip(t, "address", "add", outsideAddrs[i]+bits, "dev", "far", "nodad")
	}
	ip(t, "link", "set", "near", "up")
	o.ip(t, "link", "set", "far", "up")
	for i, family := range []string{"-4", "-6"} {
		ip(t, family, "neighbour", "replace", outsideAddrs[i], "lladdr", far, "dev", "near")
		o.ip(t, family, "neighbour", "replace", hostAddrs[i], "lladdr", near, "dev", "far")
		ip(t, family, "route", "add", "default", "via", outsideAddrs[i])
	}
	resolvConf := filepath.Join(t.TempDir(), "resolv.conf")
	writeFile(t, resolvConf, "nameserver "+outsideAddrs[0]+"\noptions timeout:1 attempts:1\n")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(resolvConf, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	return o
}

// ip runs ip(8) here.
func ip(t *testing.T, words ...string) {
	t.Helper()
	run(t, exec.CommandContext(t.Context(), os.Getenv(inNamespace), words...))
}

// ip runs ip(8) there.
func (o *outsideNet) ip(t *testing.T, words ...string) {
	t.Helper()
	var out []byte
	var err error
	o.do(func() { out, err = exec.CommandContext(t.Context(), os.Getenv(inNamespace), words...).CombinedOutput() })
	if err != nil {
		t.Fatalf("ip %q outside: %v\n%s", words, err, out)
	}
}

// do runs a function there.
func (o *outsideNet) do(f func()) {
	done := make(chan struct{})
	o.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// listenPacket opens a socket there.
func (o *outsideNet) listenPacket(_ context.Context, network, address string) (c wireguard.PacketConn, err error) {
	at, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	o.do(func() {
		var udp *net.UDPConn
		if udp, err = net.ListenUDP(network, at); err == nil {
			c = udp
		}
	})
	return c, err
}

// serveNames starts a name server there.
func (o *outsideNet) serveNames(t *testing.T, names map[string][]netip.Addr) *nameServer {
	t.Helper()
	var c net.PacketConn
	var err error
	o.do(func() { c, err = net.ListenPacket("udp", net.JoinHostPort(outsideAddrs[0], "53")) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s := &nameServer{names: names}
	go s.serve(c)
	return s
}
