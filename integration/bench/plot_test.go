package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNiceStep(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 1.1: 2, 38: 50, 60: 100} {
		if got := niceStep(v); got != want {
			t.Errorf("the step for %v is %v, want %v", v, got, want)
		}
	}
}

// TestWritePlots draws two plots of invented figures, and one without a client.
func TestWritePlots(t *testing.T) {
	r := newReport(io.Discard)
	for _, row := range plotRows() {
		clients := map[client]spread{ours: {Median: 120, Least: 100, Most: 130}}
		if row.Upload > 0 {
			clients[netTun] = spread{Median: 30}
		}
		r.Rows = append(r.Rows, reportRow{Clients: clients, point: row.point})
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := r.writePlots(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil || len(files) != 4 {
		t.Fatalf("the files are %v (%v), want four", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		for _, want := range []string{">150</text>", ">wimble</text>", "stream, "} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q", file, want)
			}
		}
	}
}
