//go:build !unix && !windows

package client

import (
	"context"
	"os"
)

const noFollow = 0

func checkDirectory(string) error { return nil }

func openFile(_ context.Context, path string) (*os.File, error) {
	return os.Open(path) //nolint:gosec // the program names the file
}

func rename(_ context.Context, from, to string) error { return os.Rename(from, to) }

func syncDirectory(string) error { return nil }

// linksUnsupported lets a rename take the place of whatever link there is.
func linksUnsupported(error) bool { return true }
