package integration

import "testing"

func TestPagesAreToldHowCellsStand(t *testing.T) {
	f := newFront(t)
	for test, name := range map[string]string{
		"FromNeverRunToRestored":       "states",
		"WhileACellRuns":               "busy",
		"BackAgainAndBranch":           "errands",
		"OlderNewerAndBadTags":         "versions",
		"NothingRunsWithoutSteps":      "untouched",
		"FiftyMegabytesAThousandCells": "large",
		"TwoHundredCellsAndAKeystroke": "quick",
	} {
		t.Run(test, func(t *testing.T) { f.with(t).script("pages.py", name, "kedge-python3", "python3") })
	}
}
