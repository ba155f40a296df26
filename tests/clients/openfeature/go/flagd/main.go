// flagd's own reader and evaluator, driven line by line: a flag file and contexts in JSON on standard input, what flagd
// makes of them on standard output. Of the server around it nothing is here but how it asks.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"

	"github.com/open-feature/flagd/core/pkg/evaluator"
	"github.com/open-feature/flagd/core/pkg/logger"
	"github.com/open-feature/flagd/core/pkg/store"
	"github.com/open-feature/flagd/core/pkg/sync"
)

type question struct {
	File string `json:"file"`
	Asks []struct {
		Flags   []string       `json:"flags"`
		Context map[string]any `json:"context"`
	} `json:"asks"`
}

type answer struct {
	Value    any            `json:"value"`
	Variant  string         `json:"variant"`
	Reason   string         `json:"reason"`
	Error    string         `json:"error"`
	Metadata map[string]any `json:"metadata"`
}

func made(value any, variant, reason string, metadata map[string]any, err error) answer {
	said := answer{Value: value, Variant: variant, Reason: reason, Metadata: metadata}
	if err != nil {
		said.Error, said.Value = err.Error(), nil
	}
	return said
}

// One flag in every way that it can be asked for.
func ask(ctx context.Context, flagd *evaluator.JSON, flag string, attributes map[string]any) map[string]answer {
	said := map[string]answer{}
	{
		value, variant, reason, metadata, err := flagd.ResolveBooleanValue(ctx, "", flag, attributes)
		said["boolean"] = made(value, variant, reason, metadata, err)
	}
	{
		value, variant, reason, metadata, err := flagd.ResolveStringValue(ctx, "", flag, attributes)
		said["string"] = made(value, variant, reason, metadata, err)
	}
	{
		value, variant, reason, metadata, err := flagd.ResolveIntValue(ctx, "", flag, attributes)
		said["integer"] = made(value, variant, reason, metadata, err)
	}
	{
		value, variant, reason, metadata, err := flagd.ResolveFloatValue(ctx, "", flag, attributes)
		said["float"] = made(value, variant, reason, metadata, err)
	}
	{
		value, variant, reason, metadata, err := flagd.ResolveObjectValue(ctx, "", flag, attributes)
		said["object"] = made(value, variant, reason, metadata, err)
	}
	any := flagd.ResolveAsAnyValue(ctx, "", flag, attributes)
	said["any"] = made(any.Value, any.Variant, any.Reason, any.Metadata, any.Error)
	return said
}

func answers(asked question) map[string]any {
	quiet := logger.NewLogger(nil, false)
	flags, err := store.NewStore(quiet, []string{"file"})
	if err != nil {
		panic(err)
	}
	flagd := evaluator.NewJSON(quiet, flags)
	if err := flagd.SetState(sync.DataSync{FlagData: asked.File, Source: "file"}); err != nil {
		return map[string]any{"refused": err.Error()}
	}
	said := []any{}
	for _, it := range asked.Asks {
		// Version 1 of the protocol has other answers where a flag has no default.
		now, before := context.Background(), context.WithValue(context.Background(), evaluator.ProtoVersionKey, "v1")
		one, v1 := map[string]any{}, map[string]any{}
		for _, flag := range it.Flags {
			one[flag], v1[flag] = ask(now, flagd, flag, it.Context), ask(before, flagd, flag, it.Context)
		}
		said = append(said, map[string]any{"v2": one, "v1": v1})
	}
	return map[string]any{"said": said}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<26)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(answers(asked)); err != nil {
			panic(err)
		}
	}
}
