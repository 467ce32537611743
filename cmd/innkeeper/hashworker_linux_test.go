package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestHashWorkerDies kills what hashes passwords for a server: nobody's sign-in
// fails.
func TestHashWorkerDies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.run(testPassword, "user", "add", "ada", "--password-stdin")
	s.start()
	signIn := func() {
		t.Helper()
		a, err := s.call(http.DefaultClient, "POST", "/auth/login", map[string]string{"username": "ada", "password": testPassword})
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%v %v\n%s", a, err, s.out)
		}
	}
	// children of the server: what hashes for it, in spare time and, where there is none,
	// with a share of the machine.
	children := func() []string {
		t.Helper()
		var all []string
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", s.cmd.Process.Pid, task.Name()))
			if err == nil { // or the thread has ended
				all = append(all, strings.Fields(string(text))...)
			}
		}
		return all
	}
	signIn()
	workers := children()
	if len(workers) != 1 && len(workers) != 2 {
		t.Fatalf("children of the server: %v", workers)
	}
	for _, worker := range workers {
		pid, err := strconv.Atoi(worker)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		signIn()
	}
	s.stop()
}
