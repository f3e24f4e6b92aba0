package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// report prints each row as it is measured, and keeps all of them.
type report struct {
	out io.Writer

	Date    time.Time
	CPUs    int
	System  string
	Go      string
	Rows    []reportRow
	LeftOut map[string]string `json:",omitempty"` // by row, why
}

// reportRow is one figure of one row.
type reportRow struct {
	Row, Figure, Unit string
	Clients           map[client]spread
	Goals             []reportGoal `json:",omitempty"`
	point             *point
}

// spread is a figure of one client.
type spread struct {
	Median, Least, Most float64
	Slices              []float64
}

// reportGoal is a figure held against what it should be.
type reportGoal struct {
	Against    client  `json:",omitempty"`
	Value      float64 // the figure, or the median of the ratios of the slices
	Limit, Aim float64
	AtLeast    bool
	Reached    bool
}

func newReport(out io.Writer) *report {
	return &report{
		out: out, Date: time.Now().Truncate(time.Second), CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		LeftOut: map[string]string{},
	}
}

func (r *report) leftOut(row, why string) {
	r.LeftOut[row] = why
	fmt.Fprintf(r.out, "%s\n    left out: %s\n", row, why)
}

// add makes figures of a row's samples.
func (r *report) add(of row, samples map[client][]sample) {
	fmt.Fprintln(r.out, of.name)
	for _, f := range of.figures {
		line := reportRow{Row: of.name, Figure: f.name, Unit: f.unit, Clients: map[client]spread{}, point: of.point}
		for _, c := range of.clients {
			var values []float64
			for _, s := range samples[c] {
				values = append(values, f.of(s))
			}
			line.Clients[c] = spread{median(values), quantile(values, 0), quantile(values, 1), values}
		}
		for _, g := range f.goals {
			if _, measured := line.Clients[g.against]; measured || g.against == "" {
				line.Goals = append(line.Goals, g.hold(line.Clients))
			}
		}
		r.Rows = append(r.Rows, line)
		line.print(r.out, of.clients)
	}
}

// hold holds the figures of a row against a goal.
func (g goal) hold(clients map[client]spread) reportGoal {
	value := clients[ours].Median
	if g.against != "" {
		var ratios []float64
		for i, v := range clients[ours].Slices {
			ratios = append(ratios, v/clients[g.against].Slices[i])
		}
		value = median(ratios)
	}
	return reportGoal{g.against, value, g.limit, g.aim, g.above, g.reached(value)}
}

func (l reportRow) print(out io.Writer, order []client) {
	fmt.Fprintf(out, "    %-20s", l.Figure)
	for _, c := range order {
		s := l.Clients[c]
		fmt.Fprintf(out, "  %s %s [%s %s]", c, short(s.Median), short(s.Least), short(s.Most))
	}
	fmt.Fprintf(out, " %s\n", l.Unit)
	for _, g := range l.Goals {
		fmt.Fprintf(out, "    %-20s  %s\n", "", g)
	}
}

// String is the goal in words, as "x0.31 of netTun's, at most x0.35: reached".
func (g reportGoal) String() string {
	var b strings.Builder
	times := ""
	if g.Against != "" {
		times = "x"
		fmt.Fprintf(&b, "x%s of %s's, ", short(g.Value), g.Against)
	}
	side := "at most"
	if g.AtLeast {
		side = "at least"
	}
	fmt.Fprintf(&b, "%s %s%s", side, times, short(g.Limit))
	if g.Aim != 0 {
		fmt.Fprintf(&b, ", aim %s%s", times, short(g.Aim))
	}
	if g.Reached {
		b.WriteString(": reached")
	} else {
		b.WriteString(": NOT reached")
	}
	return b.String()
}

// short is a number with three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func (r *report) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o666)
}
