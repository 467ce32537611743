package testengine_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNothingOutlivesAKilledProcess(t *testing.T) {
	t.Parallel()
	// Not t.TempDir: PostgreSQL's user has to get in.
	dir, err := os.MkdirTemp("/tmp", "testengine-orphans-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.Chmod(dir, 0o755))

	maker := exec.Command(os.Args[0])
	maker.Env = append(os.Environ(), orphanMaker+"=1", "TMPDIR="+dir)
	maker.Stderr = os.Stderr
	stdout, err := maker.StdoutPipe()
	check(t, err)
	check(t, maker.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	check(t, err)
	addrs := strings.Fields(line)
	for _, addr := range addrs {
		if refused(addr) {
			t.Errorf("%s: refused while it runs", addr)
		}
	}
	if len(leftIn(dir)) < 6 {
		t.Errorf("the servers work elsewhere: %v", leftIn(dir))
	}

	segment := segmentIn(t, dir)
	if !slices.Contains(sharedMemory(t), segment) {
		t.Errorf("no shared memory %q while PostgreSQL runs", segment)
	}

	check(t, maker.Process.Kill())
	_ = maker.Wait()
	for deadline := time.Now().Add(10 * time.Second); len(leftIn(dir)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", leftIn(dir))
		}
	}
	for _, addr := range addrs {
		if !refused(addr) {
			t.Errorf("%s still listens", addr)
		}
	}
	if slices.Contains(sharedMemory(t), segment) {
		t.Errorf("shared memory %s is left behind", segment)
	}
}

// segmentIn returns the segment that the PostgreSQL server in a directory uses.
func segmentIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*/data/postmaster.pid"))
	check(t, err)
	content, err := os.ReadFile(files[0])
	check(t, err)
	return strings.Fields(strings.Split(string(content), "\n")[6])[1]
}

// sharedMemory returns the segments of System V shared memory.
func sharedMemory(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile("/proc/sysvipc/shm")
	check(t, err)
	var ids []string
	for _, line := range strings.Split(string(content), "\n")[1:] {
		if fields := strings.Fields(line); len(fields) > 1 {
			ids = append(ids, fields[1])
		}
	}
	return ids
}
