package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"
)

// plot is a drawing: throughput of each client against something that the rows vary.
type plot struct {
	title, across string // across is what stands below
}

// point is where a row's throughput belongs.
type point struct {
	plot
	at string // on the axis; the points of a plot are in the order of the rows
}

// plotRows are the rows that are measured for plots alone.
func plotRows() []row {
	const ms = time.Millisecond
	var all []row
	add := func(p point, way path, w work) {
		w.Warm, w.Time = 3*time.Second, 10*time.Second
		all = append(all, row{
			name: p.title + ": " + p.at, setting: setting{far: farKernel, path: &way}, work: w, few: true,
			clients: []client{ours, netTun, kernelTun}, figures: []figure{throughput()}, point: &p,
		})
	}
	for _, w := range []work{{Download: 1}, {Upload: 1}} {
		byDistance := plot{direction(w) + ", 500 Mbit/s", "round trip"}
		for _, rtt := range []time.Duration{2 * ms, 10 * ms, 20 * ms, 50 * ms, 100 * ms, 200 * ms} {
			add(point{byDistance, rtt.String()}, path{Delay: rtt / 2, Rate: 500e6, Queue: max(rtt, 10*ms)}, w)
		}
		byLoss := plot{direction(w) + ", 200 Mbit/s, 20 ms", "lost each way"}
		for _, percent := range []float64{0, 0.01, 0.03, 0.1, 0.3, 1, 3} {
			add(point{byLoss, fmt.Sprintf("%v %%", percent)}, path{Delay: 10 * ms, Rate: 200e6, Queue: 20 * ms, Loss: percent / 100}, w)
		}
	}
	return all
}

// Sizes of a drawing, in pixels.
const (
	plotWidth, plotHeight = 720, 420
	plotLeft, plotTop     = 70, 50
	plotRight, plotBottom = 690, 360
)

// plotColours tell clients apart, to the colour-blind too.
var plotColours = map[client]string{ours: "#0072b2", netTun: "#d55e00", kernelTun: "#009e73"}

// writePlots draws what was measured of the plots.
func (r *report) writePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var order []plot
	points := map[plot][]reportRow{}
	for _, l := range r.Rows {
		if l.point != nil {
			if points[l.point.plot] == nil {
				order = append(order, l.point.plot)
			}
			points[l.point.plot] = append(points[l.point.plot], l)
		}
	}
	for _, p := range order {
		if err := os.WriteFile(fileOf(dir, p.title+" "+p.across)+".svg", []byte(p.draw(points[p])), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// draw is the plot as SVG.
func (p plot) draw(rows []reportRow) string {
	top := 0.0
	for _, l := range rows {
		for _, s := range l.Clients {
			top = max(top, s.Median)
		}
	}
	step := niceStep(top / 5)
	top = step * math.Ceil(max(top, step)/step)
	y := func(v float64) float64 { return plotBottom - v/top*(plotBottom-plotTop) }
	x := func(i int) float64 {
		return plotLeft + (float64(i)+0.5)/float64(len(rows))*(plotRight-plotLeft)
	}
	var b strings.Builder
	text := func(x, y float64, anchor, colour, s string) {
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, colour, s)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	text(plotLeft, 28, "start", "black", p.title+": Mbit/s")
	text(plotRight, plotBottom+42, "end", "black", p.across)
	for v := 0.0; v <= top; v += step {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/>`+"\n", plotLeft, y(v), plotRight)
		text(plotLeft-8, y(v)+4, "end", "black", fmt.Sprint(v))
	}
	for i, l := range rows {
		text(x(i), plotBottom+20, "middle", "black", l.point.at)
	}
	for n, c := range []client{ours, netTun, kernelTun} {
		var line []string
		for i, l := range rows {
			if s, measured := l.Clients[c]; measured {
				line = append(line, fmt.Sprintf("%.1f,%.1f", x(i), y(s.Median)))
				fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1f" stroke="%s" stroke-opacity="0.4" stroke-width="5"/>`+"\n", x(i), y(s.Least), y(s.Most), plotColours[c])
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(line, " "), plotColours[c])
		text(plotRight-float64(2-n)*100, 28, "end", plotColours[c], string(c))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// niceStep is a step of an axis that is not below v: 1, 2 or 5 with zeros.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= v {
			return n * unit
		}
	}
	return 10 * unit
}
