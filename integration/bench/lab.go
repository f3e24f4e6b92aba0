package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

// lab is where the programs run: one place for clients and load, and one for the far ends.
type lab struct {
	dir                    string // temporary
	profiles               string // folder, "" for none
	wimble, reference, own string // programs
	near, far              place
	noKernel               string // why there is no TUN device of the kernel; "" if there is
	services               uint16 // the first port of the services, on all stacks
	ports, tunnels         uint16 // how many were given out

	load    *process
	works   *os.File // its standard input, one JSON value for each work
	results *os.File // its standard output
	server  *process // of far, on the kernel's stack
}

// Ports that nothing else uses: below those that the system gives out, and in the bench's own namespace the services
// begin at one of chance.
const (
	lowestPort  = 20000
	firstPort   = 22000
	highestPort = 32000
)

// newLab builds the programs and makes the places.
func newLab(ctx context.Context, profiles string, say func(format string, args ...any)) (*lab, error) {
	dir, err := os.MkdirTemp("", "wimble-bench-")
	if err != nil {
		return nil, err
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	l := &lab{dir: dir, profiles: profiles, near: place{"", loopback}, far: place{"", loopback}}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if err := l.makeNamespaces(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(err, l.close())
		}
		l.noKernel = fmt.Sprintf("a TUN device of the kernel can't be had: %v", err)
		say("%s. Rows that need one are left out, and both ends talk over loopback.", l.noKernel)
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// build builds the programs as they are released: stripped and without cgo.
func (l *lab) build(ctx context.Context) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	l.own, l.wimble, l.reference = own, filepath.Join(l.dir, "wimble"), filepath.Join(l.dir, "reference")
	overlay := "-overlay="
	if l.profiles != "" {
		if overlay, err = l.profiled(root); err != nil {
			return err
		}
	}
	for _, b := range []struct{ dir, program, what, overlay string }{
		{root, l.wimble, "./cmd/wimble", overlay},
		{filepath.Join(root, "integration", "interop"), l.reference, "./reference", "-overlay="},
	} {
		if _, err := command(ctx, b.dir, "go", "build", "-buildvcs=false", "-ldflags=-s -w", b.overlay, "-o", b.program, b.what); err != nil {
			return err
		}
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	const module = "github.com/wimble-proxy/wimble"
	root, err := command(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", fmt.Errorf("the bench builds the programs that it measures, and has to be run in the module's folder: %w", err)
	}
	return root, nil
}

// start starts what all rows share.
func (l *lab) start(ctx context.Context) (err error) {
	l.services = lowestPort
	if l.far.namespace == "" {
		l.services += uint16(rand.IntN(highestPort - lowestPort))
	}
	if l.server, err = startReady(ctx, l.far.namespace, l.own, "role", "serve", fmt.Sprint(l.services)); err != nil {
		return err
	}
	workIn, workOut, err := os.Pipe()
	if err != nil {
		return err
	}
	defer workIn.Close()
	resultIn, resultOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, workOut.Close())
	}
	defer resultOut.Close()
	l.works, l.results = workOut, resultIn
	l.load, err = startProcess(l.near.namespace, nil, workIn, resultOut, l.own, "role", "load")
	return err
}

// do has the load generator do some work.
func (l *lab) do(ctx context.Context, w work) (result, error) {
	type answer struct {
		result
		err error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		if a.err = json.NewEncoder(l.works).Encode(w); a.err == nil {
			a.err = json.NewDecoder(l.results).Decode(&a.result)
		}
		done <- a
	}()
	select {
	case a := <-done:
		if a.err == nil && a.Error != "" {
			a.err = errors.New(a.Error)
		}
		return a.result, a.err
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
}

// freePort is a UDP and TCP port that nothing uses now.
func (l *lab) freePort() (uint16, error) {
	if l.near.namespace != "" {
		l.ports++
		return firstPort + l.ports, nil
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}

// close ends what was started and removes what was made.
func (l *lab) close() error {
	for _, p := range []*process{l.load, l.server} {
		if p != nil {
			p.kill()
		}
	}
	var errs []error
	for _, f := range []*os.File{l.works, l.results} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	errs = append(errs, l.near.remove(), l.far.remove())
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}
