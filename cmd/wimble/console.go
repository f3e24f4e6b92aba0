package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
)

const (
	formatText = "text"
	formatJSON = "json"
)

// levels are the values of --log-level, "" if it is not given.
var levels = map[string]slog.Level{
	"": slog.LevelWarn, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// console is what a person or a log collector reads on standard error: lines for people, and the log. In JSON the lines
// are records of the log, so that every line is one.
type console struct {
	log    *slog.Logger
	out    io.Writer
	level  choice
	format choice
}

func newConsole(stderr io.Writer) *console {
	c := &console{
		out:    &serialWriter{w: stderr},
		level:  choice{"", []string{"debug", "info", "warn", "error"}},
		format: choice{formatText, []string{formatText, formatJSON}},
	}
	c.open()
	return c
}

func (c *console) addFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.Var(&c.level, "log-level", "log from this level on: debug, info, warn or error (default warn, info with json)")
	flags.Var(&c.format, "log-format", "log as text or as json, one object a line")
	for name, of := range map[string]*choice{"log-level": &c.level, "log-format": &c.format} {
		// It fails only for a flag that is not there.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(of.among, cobra.ShellCompDirectiveNoFileComp))
	}
}

// open makes the log that the flags ask for.
func (c *console) open() {
	options := &slog.HandlerOptions{Level: levels[c.level.value]}
	if c.format.value == formatText {
		c.log = slog.New(slog.NewTextHandler(c.out, options))
		return
	}
	if c.level.value == "" {
		options.Level = slog.LevelInfo // what is said to people comes at this level
	}
	c.log = slog.New(slog.NewJSONHandler(c.out, options))
}

// say tells a person something.
func (c *console) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.format.value == formatJSON {
		c.log.Info(strings.Join(strings.Fields(text), " ")) // nothing is aligned there
		return
	}
	fmt.Fprintln(c.out, text)
}

// warn tells a person what may not be meant.
func (c *console) warn(text string) {
	if c.format.value == formatJSON {
		c.log.Warn(text)
		return
	}
	fmt.Fprintln(c.out, "warning: "+text)
}

// fail tells a person why the program ends. It is called also when not all flags could be read.
func (c *console) fail(err error) {
	c.open()
	if c.format.value == formatJSON {
		c.log.Error(err.Error())
		return
	}
	fmt.Fprintf(c.out, "wimble: %v\n", err)
}

// serialWriter lets the goroutines of the program share a writer.
type serialWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (s *serialWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// choice is the value of a flag that takes one of some words.
type choice struct {
	value string
	among []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.among, "|") }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.among, s) {
		return errors.New("this is none of " + strings.Join(c.among, ", "))
	}
	c.value = s
	return nil
}
