//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
			becomeNobody()
			main()
		},
		// A program that fetches a page as its environment says.
		"fetch": func() {
			response, err := http.Get(os.Args[1])
			if err == nil {
				_, err = io.Copy(os.Stdout, response.Body)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		},
		// A line to a socket, as another user: "ask-as-nobody NETWORK ADDRESS LINE".
		"ask-as-nobody": func() {
			becomeNobody()
			answer, err := askLine(os.Args[1], os.Args[2], os.Args[3])
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			fmt.Print(answer)
		},
	})
}

// becomeNobody makes this process that of a user without any right, if it can.
func becomeNobody() {
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// askLine sends a line to a socket and returns all that comes back.
func askLine(network, address, request string) (string, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, request); err != nil && !errors.Is(err, syscall.EPIPE) { // an answer may be there already
		return "", err
	}
	answer, err := io.ReadAll(conn)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil // it was not read to its end
	}
	return string(answer), err
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
// {short public} is {public} as people read it, {cut} is a private key that lacks a character, and {busy} is a UDP port
// that is taken. {live private} and {live public} are the keys of a tunnel whose far end, with the page of the demo,
// listens on {live port}. The variables are in setupScript. No output of a command that "exits" runs may hold a part of a
// secret. "configured" is a condition: this host has a configuration that wimble takes when none is named.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
		},
		Condition: func(name string) (bool, error) {
			if name != "configured" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return firstOf(usualFiles) != "", nil
		},
	})
}

func setupScript(env *testscript.Env) error {
	private, err1 := key.NewPrivate(rand.Reader)
	other, err2 := key.NewPrivate(rand.Reader)
	psk, err3 := key.NewPreshared(rand.Reader)
	near, far, err4 := demoTunnels()
	tcp, err5 := net.Listen("tcp", "127.0.0.1:0")
	udp, err6 := net.ListenPacket("udp", "127.0.0.1:0")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	end, err := quietApp().openFarEnd(context.Background(), far)
	if err != nil {
		return err
	}
	env.Defer(func() {
		tcp.Close()
		udp.Close()
		end.close()
	})
	livePort := strconv.Itoa(int(end.net.Device().ListenPort()))
	busyTCP := strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port)
	env.Vars = append(
		env.Vars, noRaceSleep,
		"XDG_CONFIG_HOME="+filepath.Join(env.WorkDir, "config"), "XDG_RUNTIME_DIR="+env.WorkDir,
		"PRIVATE="+private.Base64(), "PUBLIC="+other.Public().String(), "BUSY="+busyTCP,
		"LIVE_PRIVATE="+near.PrivateKey.Base64(), "LIVE_PUBLIC="+near.Peers[0].PublicKey.String(), "LIVE_PORT="+livePort,
	)
	env.Values[secretsKey{}] = []string{private.Base64(), psk.Base64(), near.PrivateKey.Base64()}
	return fillFiles(env.WorkDir, strings.NewReplacer(
		"{private}", private.Base64(), "{cut}", private.Base64()[1:], "{psk}", psk.Base64(),
		"{public}", other.Public().String(), "{short public}", other.Public().Short(), "{own public}", private.Public().String(),
		"{live private}", near.PrivateKey.Base64(), "{live public}", near.Peers[0].PublicKey.String(), "{live port}", livePort,
		"{busy}", strconv.Itoa(udp.LocalAddr().(*net.UDPAddr).Port), "{busy tcp}", busyTCP,
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

// betweenHandshakes is how far apart two processes with the same key have to begin: a peer takes no initiation within 20
// ms of the last, nor one that is not newer by its time stamp, which is cut to 17 ms.
const betweenHandshakes = 40 * time.Millisecond

// exits is the script command "exits CODE PROGRAM ARGS".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS")
	}
	time.Sleep(betweenHandshakes)
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
