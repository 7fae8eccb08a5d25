package integration

import "testing"

func TestGoingBackInALiveKernel(t *testing.T) {
	f := newFront(t)
	for test, name := range map[string]string{
		"IsAStraightRun":            "straight",
		"ClientsNoticeNothing":      "unnoticed",
		"WhatCannotBeRestoredStays": "refused",
		"ASpareKernelIsAFreshOne":   "spare",
		"FaultsLeaveTheOldKernel":   "faults",
		"AClientThatLeaves":         "leaving",
		"ProcessesThatAreKilled":    "dying",
	} {
		t.Run(test, func(t *testing.T) { f.with(t).script("swap.py", name, "kedge-python3", "python3") })
	}
}
