// Command bench measures whole programs: Wimble beside what people use today, as processes of their own, in one run.
//
//	go run ./integration/bench [-slices N] [-time D] [-run REGEXP] [-json FILE] [-svg DIR] [-profile DIR]
//
// Each row of the table (rows.go) is some work for a client: a download, small requests, connections. Wimble and the
// references do it in turns, in slices of a few seconds, so that what else the machine does falls on all of them; what
// counts is the median of the ratios of neighbouring slices. Figures of a client are its own: the CPU time and the
// memory of that one process. They are read from Linux; elsewhere the bench says so and ends.
//
// The references are splice (splice.go: a proxy without a tunnel) and, from the nested module interop, netTun and
// kernelTun: wireguard-go with a stack in user space and with a TUN device of the kernel. With root and ip(8) the two
// ends stand in network namespaces that the bench makes and removes, with a veth pair between them, and the kernel is
// told to use CUBIC there; without, they talk over loopback, and rows that need the kernel's TUN are left out.
//
// Start reading at run; then rows.go says what is measured, lab.go and pair.go start the programs, and load.go is the
// load generator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	slices  int
	time    time.Duration
	settle  time.Duration
	quick   bool
	rows    *regexp.Regexp
	json    string
	svg     string
	profile string
}

// run is the program: the bench, or one of the processes that it starts.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "role" {
		return runRole(ctx, args[1:], stdin, stdout)
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.slices, "slices", 8, "how often each client does a row's work, at most where a row takes minutes")
	flags.DurationVar(&o.time, "time", 3*time.Second, "how long a slice is measured, unless a row needs longer")
	flags.DurationVar(&o.settle, "settle", time.Minute, "how long memory is given to settle after many connections")
	flags.BoolVar(&o.quick, "quick", false, "let no slice take longer than -time, whatever the row needs")
	rows := flags.String("run", "", "measure the rows whose name matches this `regexp`")
	flags.StringVar(&o.json, "json", "", "write what was measured to this `file`")
	flags.StringVar(&o.svg, "svg", "", "measure throughput against round trip and against loss too, and write plots of it to this `folder`")
	flags.StringVar(&o.profile, "profile", "", "write profiles of Wimble as the client to this `folder`, a row's last slice, for go tool pprof")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: all that is wanted is flags", flags.Args())
	}
	if o.slices < 1 || o.time <= 0 {
		return errors.New("-slices and -time must be above zero")
	}
	var err error
	if o.profile, err = absolute(o.profile); err != nil {
		return err
	}
	if o.rows, err = regexp.Compile(*rows); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	return bench(ctx, o, stdout, stderr)
}

// absolute is a path that processes in other folders understand, and "" for "".
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}
