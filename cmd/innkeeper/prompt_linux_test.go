package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPromptHidesPassword types at a pseudo-terminal, after it was asked.
func TestPromptHidesPassword(t *testing.T) {
	c := newConsole(t)
	c.start("user", "add", "ada")
	for _, prompt := range []string{"password: ", "once more: "} {
		c.waitPrompt(prompt)
		c.typeText(testPassword + "\n")
	}
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, c.screen)
	}
	c.waitScreen("created user ada")
	if screen := c.screen.String(); strings.Contains(screen, "horse") || strings.Count(screen, ": \r\n") != 2 {
		t.Errorf("the screen shows %q", screen)
	}
}

// TestPromptInterrupted leaves the terminal as it was.
func TestPromptInterrupted(t *testing.T) {
	c := newConsole(t)
	c.start("user", "add", "ada")
	c.waitPrompt("password: ")
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // says that it was interrupted
	if code := c.cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if !c.echo() {
		t.Error("the terminal shows no longer what is typed")
	}
	c.waitScreen("innkeeper: interrupted")
}

// console is a pseudo-terminal with a command at it.
type console struct {
	t        *testing.T
	ctrl     *os.File // what the person sees and types
	terminal *os.File // what the command has
	screen   *lockedBuffer
	cmd      *exec.Cmd
}

func newConsole(t *testing.T) *console {
	ctrl, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { ctrl.Close() })
	fd := int(ctrl.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	c := &console{t: t, ctrl: ctrl, terminal: terminal, screen: &lockedBuffer{}}
	go func() { _, _ = io.Copy(c.screen, ctrl) }()
	return c
}

func (c *console) start(args ...string) {
	c.cmd = exec.Command("innkeeper", args...)
	c.cmd.Dir = c.t.TempDir()
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = c.terminal, c.terminal, c.terminal
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
}

func (c *console) typeText(text string) {
	if _, err := io.WriteString(c.ctrl, text); err != nil {
		c.t.Fatal(err)
	}
}

// echo reports whether the terminal shows what is typed.
func (c *console) echo() bool {
	state, err := unix.IoctlGetTermios(int(c.terminal.Fd()), unix.TCGETS)
	if err != nil {
		c.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// waitPrompt waits until the command asks and the terminal hides the answer.
func (c *console) waitPrompt(prompt string) {
	c.t.Helper()
	for range 6000 {
		if strings.HasSuffix(c.screen.String(), prompt) && !c.echo() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.t.Fatalf("the command does not ask: %q", c.screen)
}

// waitScreen waits until a text is on the screen, which is a little later than the
// command has written it.
func (c *console) waitScreen(text string) {
	c.t.Helper()
	for range 6000 {
		if strings.Contains(c.screen.String(), text) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.t.Fatalf("%q does not appear: %q", text, c.screen)
}
