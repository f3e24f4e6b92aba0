package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	// crowdSize is how many clients come at once.
	crowdSize = 10_000
	// heldDials and heldHandshakes are how many of them the program keeps
	// (proxy.Config, MaxConns and MaxHandshakes).
	heldDials      = 16_384
	heldHandshakes = 1024
)

// crowd is many clients of a running program, from another process.
type crowd struct {
	site *site
	up   *process
	// before is what the program has without them.
	before usage
	conns  []*net.TCPConn
}

// usage is what a process has.
type usage struct {
	descriptors int
	resident    int // KiB
}

// TestCrowd is FAULTS S27 and S30 with 10,000 clients. What the program has for
// them is gone when they are.
func TestCrowd(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "this test looks at the descriptors of a process that lets only root do that: run it as root")
	}
	s := openSite(t)
	c := s.ours
	c.Peers[0].AllowedIPs = append(c.Peers[0].AllowedIPs, deadServer)
	s.conf = writeWireGuard(t, s.dir, c)
	quiet := newCrowd(t, s)
	quiet.goodClient(t)
	want := quiet.goroutines(t)
	for _, tt := range []struct {
		name string
		run  func(*crowd, *testing.T)
	}{{"S27", (*crowd).slow}, {"S30", (*crowd).leave}} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCrowd(t, s)
			tt.run(c, t)
			c.goodClient(t)
			if got := c.goroutines(t); total(got) > total(want)+onTheirWay {
				t.Errorf("goroutines are left: there are %v, want %v", got, want)
			}
		})
	}
}

// onTheirWay are goroutines that may still run when their descriptors are gone.
const onTheirWay = 8

func total(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

func newCrowd(t *testing.T, s *site) *crowd {
	t.Helper()
	c := &crowd{site: s, up: startUp(t, s.program, s.conf)}
	descriptors := c.usage(t).descriptors // the client's may still be there afterwards
	c.goodClient(t)                       // what is made once is made
	c.before = c.usage(t)
	c.before.descriptors = descriptors
	return c
}

// come connects n clients, or as many as this process may have descriptors for,
// each of which says something at once.
func (c *crowd) come(t *testing.T, n int, first string) {
	t.Helper()
	// The Go runtime has raised the soft limit to the hard one.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const others = 500
	if have := int(min(limit.Cur, 1<<20)) - others; n > have {
		t.Logf("the limit of descriptors is %d: %d clients come, and not %d", limit.Cur, have, n)
		n = have
	}
	c.conns = make([]*net.TCPConn, n)
	var workers sync.WaitGroup
	for i := range 16 {
		workers.Go(func() {
			for j := i; j < n; j += 16 {
				conn, err := net.Dial("tcp", c.up.proxy)
				if err != nil {
					t.Error(err)
					return
				}
				c.conns[j] = conn.(*net.TCPConn)
				_, _ = io.WriteString(conn, first) // it may be cut off by now
			}
		})
	}
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// each has every client do something at the same time.
func (c *crowd) each(f func(*net.TCPConn)) {
	var all sync.WaitGroup
	for _, conn := range c.conns {
		all.Go(func() { f(conn) })
	}
	all.Wait()
}

// SOCKS5 (RFC 1928) to two addresses behind the tunnel.
const (
	socksHello   = "\x05\x01\x00"
	socksToSite  = "\x05\x01\x00\x01\x0a\x07\x00\x02\x00\x50"
	socksToDead  = "\x05\x01\x00\x01\x0a\x07\x00\x42\x00\x50"
	socksWelcome = "\x05\x00"
)

// slow is S27: each client sends a byte every 5 seconds.
func (c *crowd) slow(t *testing.T) {
	// A greeting that announces 255 methods and does not end.
	c.come(t, crowdSize, "\x05\xff")
	c.report(t, "slow clients", heldHandshakes)
	begin := time.Now()
	var longest atomic.Int64
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.each(func(conn *net.TCPConn) {
			defer conn.Close()
			stop := make(chan struct{})
			var writer sync.WaitGroup
			writer.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Second):
					}
					if _, err := conn.Write([]byte{2}); err != nil {
						return
					}
				}
			})
			_, _ = io.Copy(io.Discard, conn) // until it is cut off
			close(stop)
			writer.Wait()
			for took := int64(time.Since(begin)); ; {
				if was := longest.Load(); took <= was || longest.CompareAndSwap(was, took) {
					return
				}
			}
		})
	}()
	var served []time.Duration
	deadline := time.After(patience)
	for {
		served = append(served, c.goodClient(t))
		select {
		case <-over:
			slices.Sort(served)
			t.Logf("the last slow client was cut off after %.1f s; %d good ones were served meanwhile, in %v (median), %v at most",
				time.Duration(longest.Load()).Seconds(), len(served), served[len(served)/2].Round(time.Microsecond), served[len(served)-1].Round(time.Microsecond))
			return
		case <-deadline:
			t.Fatal("there are slow clients that are not cut off")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// leave is S30: the clients leave while the program dials for them somebody
// who does not answer.
func (c *crowd) leave(t *testing.T) {
	dials := 0
	for _, n := range []int{crowdSize, crowdSize / 4} {
		c.come(t, n, socksHello+socksToDead)
		n = len(c.conns)
		var refused atomic.Int64
		var readers sync.WaitGroup
		for _, conn := range c.conns {
			readers.Go(func() {
				answer := make([]byte, len(socksWelcome)+10)
				if _, err := io.ReadFull(conn, answer); err == nil && bytes.HasPrefix(answer, []byte(socksWelcome+"\x05\x01")) {
					refused.Add(1) // there is no room
				}
			})
		}
		held := min(n, heldDials)
		dials += held
		if !eventually(func() bool { return int(refused.Load()) == n-held }) {
			t.Errorf("%d of %d clients are refused, want %d", refused.Load(), n, n-held)
		}
		if !eventually(func() bool { return c.usage(t).descriptors-c.before.descriptors >= held }) {
			t.Errorf("the program has %d descriptors more than before, want %d at least", c.usage(t).descriptors-c.before.descriptors, held)
		}
		c.report(t, fmt.Sprintf("clients, %d of them with a dial that hangs", held), held)
		begin := time.Now()
		for _, conn := range c.conns {
			conn.Close()
		}
		readers.Wait()
		c.back(t)
		t.Logf("all is given back %.1f s after they left", time.Since(begin).Seconds())
	}
	t.Logf("%d dials were left", dials)
}

// report says what each client costs.
func (c *crowd) report(t *testing.T, what string, held int) {
	t.Helper()
	now := c.usage(t)
	t.Logf("%d %s: %d descriptors and %d KiB more, %.1f KiB for each of %d that are kept",
		len(c.conns), what, now.descriptors-c.before.descriptors, now.resident-c.before.resident,
		float64(now.resident-c.before.resident)/float64(held), held)
}

// back waits until the program has no more descriptors than before.
func (c *crowd) back(t *testing.T) {
	t.Helper()
	if !eventually(func() bool { return c.usage(t).descriptors <= c.before.descriptors }) {
		t.Errorf("the program has %d descriptors, and had %d before", c.usage(t).descriptors, c.before.descriptors)
	}
}

// goodClient fetches the page, and returns how long that took.
func (c *crowd) goodClient(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	conn, err := net.Dial("tcp", c.up.proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(begin.Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, socksHello+socksToSite+"GET / HTTP/1.0\r\n\r\n")
	page, readErr := io.ReadAll(conn)
	if err := errors.Join(err, readErr); err != nil || !bytes.HasSuffix(page, []byte(pageText)) {
		t.Errorf("a good client gets %q, %v", page, err)
	}
	return time.Since(begin)
}

// usage asks the system.
func (c *crowd) usage(t *testing.T) (u usage) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(c.up.cmd.Process.Pid))
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`).FindSubmatch(status); m != nil {
		u.resident, _ = strconv.Atoi(string(m[1]))
	}
	u.descriptors = len(open)
	return u
}

// goroutines ends the program in the way that makes it say which goroutines of
// ours it has (package os/signal, SIGQUIT): by whom they were started, and how
// many of each.
func (c *crowd) goroutines(t *testing.T) map[string]int {
	t.Helper()
	c.back(t)
	if err := c.up.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-c.up.ended:
	case <-ctx.Done():
		t.Fatal("the program does not end by SIGQUIT")
	}
	_ = c.up.cmd.Wait() // by the signal
	counts := map[string]int{}
	for line := range strings.Lines(c.up.said.String()) {
		if by, ok := strings.CutPrefix(line, "created by github.com/wimble-proxy/wimble/"); ok {
			by, _, _ = strings.Cut(by, " in goroutine")
			counts[strings.TrimSpace(by)]++
		}
	}
	if len(counts) == 0 {
		t.Errorf("the program does not say which goroutines it has:\n%s", c.up.said)
	}
	return counts
}
