package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/innkeeper-auth/innkeeper/internal/hashworker"
)

// hashWorkerCommand is the process that hashes passwords for a server, which starts it.
type hashWorkerCommand struct {
	SpareTime bool `help:"Compute only while a core has nothing else to do."`
}

// Run serves until standard input ends. A signal to stop is for the server, which may have
// passwords to check until it has stopped.
func (c hashWorkerCommand) Run(std *stdio) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	return hashworker.Serve(newLogger(std.err, "info"), std.in, std.out, c.SpareTime)
}

// newHashWorker has this very program hash passwords in processes of their own.
func newHashWorker(log *slog.Logger) (*hashworker.Worker, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return hashworker.New(log, path, os.Args[0], "hash-worker"), nil
}
