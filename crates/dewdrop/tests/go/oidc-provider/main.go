// A real OpenID provider for the tests of auth/oidc: the certified library of Zitadel with its own example store, which
// checks PKCE, redirect URIs and client secrets by itself. Ours are only the clients, two people and their groups.
// Usage: oidc-provider PORT REDIRECT_URI...
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// people are known by their names alone, which are their ids as well.
type people map[string]*storage.User

func (p people) GetUserByID(id string) *storage.User         { return p[id] }
func (p people) GetUserByUsername(name string) *storage.User { return p[name] }
func (p people) ExampleClientID() string                     { return storage.ServiceUserID }

func person(name string) *storage.User {
	return &storage.User{ID: name, Username: name, Password: "verysecure", Email: name + "@people.test", EmailVerified: true}
}

type withGroups struct{ *storage.Storage }

func groups(userinfo *oidc.UserInfo, person string) {
	if person == "ada" {
		userinfo.AppendClaims("groups", []string{"platform", "oncall"})
	} else {
		userinfo.AppendClaims("groups", []string{"visitors"})
	}
}

func (s withGroups) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	groups(info, token.GetSubject())
	return s.Storage.SetUserinfoFromRequest(ctx, info, token, scopes)
}

func (s withGroups) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	groups(info, subject)
	return s.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
}

func main() {
	port, redirects := os.Args[1], os.Args[2:]
	issuer := "http://127.0.0.1:" + port
	storage.RegisterClients(
		storage.WebClient("dewdrop", "client-secret", redirects...),
		storage.WebClient("other", "other-secret", redirects...),
		storage.DeviceClient("device", "device-secret"),
	)
	store := withGroups{storage.NewStorage(people{"ada": person("ada"), "eve": person("eve")})}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	router := exampleop.SetupServer(issuer, store, quiet, false)
	if err := http.ListenAndServe("127.0.0.1:"+port, router); err != nil {
		os.Exit(1)
	}
}
