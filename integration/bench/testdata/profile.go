package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// init belongs to the bench's builds of cmd/wimble alone, into which -overlay puts this file: the program itself has no
// switch for profiles. SIGUSR2 begins a CPU profile; the next one ends it, and writes it and one of the heap.
func init() {
	file := os.Getenv("WIMBLE_BENCH_PROFILE")
	toggle := make(chan os.Signal, 1)
	signal.Notify(toggle, syscall.SIGUSR2)
	go func() {
		for range toggle {
			cpu, err := os.Create(file + ".cpu")
			if err != nil {
				panic(err)
			}
			if err := pprof.StartCPUProfile(cpu); err != nil {
				panic(err)
			}
			<-toggle
			pprof.StopCPUProfile()
			heap, err := os.Create(file + ".heap")
			if err != nil {
				panic(err)
			}
			if err := pprof.WriteHeapProfile(heap); err != nil {
				panic(err)
			}
			cpu.Close()
			heap.Close()
		}
	}()
}
