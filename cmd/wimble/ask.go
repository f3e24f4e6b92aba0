package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ask asks the instance whose control socket is at a path.
func (a *app) ask(ctx context.Context, path, request string) (s status, err error) {
	conn, err := a.host.DialControl(ctx, path)
	if err != nil {
		return s, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(controlTime))
	if _, err := fmt.Fprintln(conn, request); err != nil {
		return s, err
	}
	answer := bufio.NewReader(conn)
	line, err := answer.ReadString('\n')
	if err != nil {
		return s, fmt.Errorf("control socket %s: no answer: %w", path, err)
	}
	if line = strings.TrimSuffix(line, "\n"); line != answerOK {
		return s, fmt.Errorf("control socket %s: %s", path, line)
	}
	return s, json.NewDecoder(answer).Decode(&s)
}

// askInstance asks the running instance of that name, or for "" the only one.
func (a *app) askInstance(ctx context.Context, name, request string) (status, error) {
	var answers []status
	var names []string
	for _, path := range socketPaths(name) {
		s, err := a.ask(ctx, path, request)
		switch {
		case err == nil:
			answers = append(answers, s)
			names = append(names, s.Name)
		case !errors.Is(err, syscall.ECONNREFUSED): // that one was killed
			return status{}, err
		}
	}
	switch {
	case len(answers) == 1:
		return answers[0], nil
	case len(answers) > 1:
		return status{}, fmt.Errorf("there are several instances; name one of %s", strings.Join(names, ", "))
	case name != "":
		return status{}, fmt.Errorf("no instance of that name runs (its control socket would be in %s); start it with wimble up", orList(runDirs()))
	}
	return status{}, fmt.Errorf("no instance runs (its control socket would be in %s); start one with wimble up", orList(runDirs()))
}

// socketPaths are the control sockets of that name, or for "" all. There may be no instance behind them.
func socketPaths(name string) (paths []string) {
	for _, dir := range runDirs() {
		if checkRunDir(dir) != nil {
			continue
		}
		found, _ := filepath.Glob(socketPath(dir, "*")) // fails only for a bad pattern
		for _, path := range found {
			if name == "" || path == socketPath(dir, instanceName(name)) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// instanceName is the name of the instance that was given this name or file.
func instanceName(arg string) string {
	name := filepath.Base(arg)
	if extension := filepath.Ext(name); slices.Contains(extensions, extension) {
		name = strings.TrimSuffix(name, extension)
	}
	return name
}

// socketName is the name of the instance with that control socket.
func socketName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".sock") }
