// Reads lines {"rule":…,"data":…} and writes what flagd's evaluator makes of each.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/diegoholiveira/jsonlogic/v3"
	"github.com/open-feature/flagd/core/pkg/evaluator"
	"github.com/open-feature/flagd/core/pkg/logger"
)

func main() {
	log := logger.NewLogger(nil, false)
	jsonlogic.AddOperator(evaluator.FractionEvaluationName, evaluator.NewFractional(log).Evaluate)
	jsonlogic.AddOperator(evaluator.StartsWithEvaluationName, evaluator.NewStringComparisonEvaluator(log).StartsWithEvaluation)
	jsonlogic.AddOperator(evaluator.EndsWithEvaluationName, evaluator.NewStringComparisonEvaluator(log).EndsWithEvaluation)
	jsonlogic.AddOperator(evaluator.SemVerEvaluationName, evaluator.NewSemVerComparison(log).SemVerEvaluation)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var c struct {
			Rule json.RawMessage `json:"rule"`
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			panic(err)
		}
		fmt.Fprintln(out, apply(string(c.Rule), string(c.Data)))
	}
}

func apply(rule, data string) (answer string) {
	defer func() {
		if e := recover(); e != nil {
			answer = "error"
		}
	}()
	var result strings.Builder
	if err := jsonlogic.Apply(strings.NewReader(rule), strings.NewReader(data), &result); err != nil {
		return "error"
	}
	return strings.TrimSpace(result.String())
}
