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

type withGroups struct{ *storage.Storage }

func groups(userinfo *oidc.UserInfo, person string) {
	if person == "id1" {
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
	store := withGroups{storage.NewStorage(storage.NewUserStore(issuer))}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	router := exampleop.SetupServer(issuer, store, quiet, false)
	if err := http.ListenAndServe("127.0.0.1:"+port, router); err != nil {
		os.Exit(1)
	}
}
