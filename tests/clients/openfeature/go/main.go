// OpenFeature's published flagd provider for Go, driven line by line: commands in JSON on standard input, answers in
// JSON on standard output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"sync"

	flagd "github.com/open-feature/go-sdk-contrib/providers/flagd/pkg"
	of "github.com/open-feature/go-sdk/openfeature"
)

type command struct {
	Do       string         `json:"do"`
	Domain   string         `json:"domain"`
	Kind     string         `json:"kind"`
	Host     string         `json:"host"`
	Port     uint16         `json:"port"`
	Selector string         `json:"selector"`
	Cache    bool           `json:"cache"`
	Deadline int            `json:"deadline_ms"`
	Flag     string         `json:"flag"`
	Type     string         `json:"type"`
	Default  any            `json:"default"`
	Context  map[string]any `json:"context"`
}

var mutex sync.Mutex

func say(what map[string]any) {
	mutex.Lock()
	defer mutex.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(what)
}

func listen(client *of.Client, domain string) {
	for _, event := range []of.EventType{of.ProviderReady, of.ProviderConfigChange, of.ProviderStale, of.ProviderError} {
		handler := func(details of.EventDetails) {
			say(map[string]any{"event": event, "domain": domain, "flags": details.FlagChanges})
		}
		client.AddHandler(event, &handler)
	}
}

func start(c command) {
	if c.Deadline == 0 {
		c.Deadline = 10_000
	}
	options := []flagd.ProviderOption{
		flagd.WithHost(c.Host), flagd.WithPort(c.Port), flagd.WithDeadline(c.Deadline),
		flagd.WithRetryBackoffMs(100), flagd.WithRetryBackoffMaxMs(500), flagd.WithRetryGracePeriod(30),
	}
	if c.Kind == "in-process" {
		options = append(options, flagd.WithInProcessResolver())
	} else {
		options = append(options, flagd.WithRPCResolver())
	}
	if c.Selector != "" {
		options = append(options, flagd.WithSelector(c.Selector))
	}
	if c.Cache {
		options = append(options, flagd.WithLRUCache(100))
	} else {
		options = append(options, flagd.WithoutCache())
	}
	client := of.NewClient(c.Domain)
	listen(client, c.Domain)
	provider, err := flagd.NewProvider(options...)
	if err == nil {
		err = of.SetNamedProviderAndWait(c.Domain, provider)
	}
	if err != nil {
		say(map[string]any{"started": false, "error": err.Error()})
		return
	}
	say(map[string]any{"started": true})
}

func get(c command) {
	client := of.NewClient(c.Domain)
	key, _ := c.Context["targetingKey"].(string)
	delete(c.Context, "targetingKey")
	asked := of.NewEvaluationContext(key, c.Context)
	answer := func(value any, details of.EvaluationDetails) {
		say(map[string]any{
			"value": value, "variant": details.Variant, "reason": details.Reason,
			"error": details.ErrorCode, "metadata": details.FlagMetadata,
		})
	}
	background := context.Background()
	switch c.Type {
	case "boolean":
		found, _ := client.BooleanValueDetails(background, c.Flag, c.Default.(bool), asked)
		answer(found.Value, found.EvaluationDetails)
	case "string":
		found, _ := client.StringValueDetails(background, c.Flag, c.Default.(string), asked)
		answer(found.Value, found.EvaluationDetails)
	case "integer":
		found, _ := client.IntValueDetails(background, c.Flag, int64(c.Default.(float64)), asked)
		answer(found.Value, found.EvaluationDetails)
	case "float":
		found, _ := client.FloatValueDetails(background, c.Flag, c.Default.(float64), asked)
		answer(found.Value, found.EvaluationDetails)
	default:
		found, _ := client.ObjectValueDetails(background, c.Flag, c.Default, asked)
		answer(found.Value, found.EvaluationDetails)
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		if c.Do == "start" {
			start(c)
		} else {
			get(c)
		}
	}
}
