package integration

import "testing"

// TestStepsThatComeLateInABrowser runs cells before they are tagged, in the page.
func TestStepsThatComeLateInABrowser(t *testing.T) {
	needsBrowser(t)
	f := newFront(t)
	f.install("--python", f.python, "--as", "python3")
	f.with(t).browse("late.py")
}
