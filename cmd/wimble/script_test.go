//go:build unix

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/wimble-proxy/wimble/wireguard/key"
)

// TestMain makes the test binary the programs that the scripts run, and fails on goroutines that are left behind.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"wimble": main,
		// The same as a user who may read nothing that is not open to all.
		"wimble-as-nobody": func() {
			if os.Getuid() == 0 {
				const nobody = 65534
				if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
			main()
		},
	})
}

type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the sessions in testdata. In their files, {private}, {psk} and {public} are keys made for this run,
// {cut} is a private key that lacks a character, and {busy} is a UDP port that is taken; $BUSY is a TCP port that is.
// No output of a command that "exits" runs may hold a part of a secret.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
		},
	})
}

func setupScript(env *testscript.Env) error {
	private, err1 := key.NewPrivate(rand.Reader)
	other, err2 := key.NewPrivate(rand.Reader)
	psk, err3 := key.NewPreshared(rand.Reader)
	tcp, err4 := net.Listen("tcp", "127.0.0.1:0")
	udp, err5 := net.ListenPacket("udp", "127.0.0.1:0")
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	env.Defer(func() {
		tcp.Close()
		udp.Close()
	})
	env.Setenv("BUSY", strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port))
	env.Vars = append(env.Vars, noRaceSleep)
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
	env.Values[secretsKey{}] = []string{private.Base64(), psk.Base64()}
	return fillFiles(env.WorkDir, strings.NewReplacer(
		"{private}", private.Base64(), "{cut}", private.Base64()[1:], "{psk}", psk.Base64(),
		"{public}", other.Public().String(), "{own public}", private.Public().String(),
		"{busy}", strconv.Itoa(udp.LocalAddr().(*net.UDPAddr).Port),
	))
}

// secretsKey is where setupScript leaves the secrets of a script for its commands.
type secretsKey struct{}

// fillFiles replaces what stands for keys and ports in every file below dir.
func fillFiles(dir string, fill *strings.Replacer) error {
	return filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(fill.Replace(string(text))), 0o600)
	})
}

// exits is the script command "exits CODE PROGRAM ARGS".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS")
	}
	code := 0
	var failed *exec.ExitError
	err := ts.Exec(args[1], args[2:]...)
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	for _, secret := range ts.Value(secretsKey{}).([]string) {
		if part := partOf(secret, ts.ReadFile("stdout")+ts.ReadFile("stderr")); part != "" {
			ts.Fatalf("the output holds %q of a secret", part)
		}
	}
}

// partOf returns a part of secret that text holds, long enough to be no chance, or "".
func partOf(secret, text string) string {
	const enough = 8
	for i := range len(secret) - enough + 1 {
		if part := secret[i : i+enough]; strings.Contains(text, part) {
			return part
		}
	}
	return ""
}
