//! `/api/v1/connector`: making connectors, as the reference's curl does, and looking after them.

pub(super) mod link;
mod shown;
pub(super) mod tokens;
pub(super) mod verify;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::Data;

use crate::domain::connector::settings::MEMBERS;
use crate::domain::connector::settings::Settings;
use crate::domain::members;
use crate::http::body::Body;
use crate::http::body::Members;
use crate::http::body::check_text;
use crate::http::body::invalid_at;
use crate::http::connectors::shown::issued;
use crate::http::connectors::shown::page;
use crate::http::connectors::shown::whole;
use crate::http::error::ApiError;
use crate::http::extract::Caller;
use crate::http::extract::Params;
use crate::service::connectors::Connectors;
use crate::service::connectors::Filter;
use crate::service::connectors::New;
use crate::service::error::ConnectorError;

/// `GET`: lists; with a body, which is how the reference's curl comes, it makes a connector.
pub(super) async fn list_or_create(
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    // A HEAD would make one whose token nobody sees.
    if body.0.trim_ascii().is_empty() || request.method() != Method::GET {
        list(&caller, &params, &connectors).await
    } else {
        create(caller, params, body, connectors).await
    }
}

async fn list(
    caller: &Caller,
    params: &Params,
    connectors: &Connectors,
) -> Result<HttpResponse, ApiError> {
    params.only(&["account_id", "project_id", "client_env", "name", "after"])?;
    let filter = Filter {
        account: params.account()?,
        project: params.project()?,
        client_env: params.read("client_env")?,
        name: params.text("name")?.map(str::to_owned),
    };
    let listed = connectors.list(&caller.0, &filter, params.read("after")?).await?;
    Ok(json(StatusCode::OK, page(&listed)?))
}

/// `POST`: makes a connector and shows its token, this once.
pub(super) async fn create(
    caller: Caller,
    params: Params,
    body: Body,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let made = connectors.create(&caller.0, new(&body)?).await?;
    Ok(json(StatusCode::CREATED, issued(&made)?))
}

fn new(body: &Body) -> Result<New, ApiError> {
    let given = Members::of_body(&body.0)?;
    check_text(&String::from_utf8_lossy(&body.0), "")?;
    given.only(&[&["account_id", "project_id", "client_env"], MEMBERS.as_slice()].concat())?;
    let missing =
        |name: &str, what: &str| invalid_at(&format!("/{name}"), format!("is missing: {what}"));
    let settings = MEMBERS.iter().filter_map(|name| Some((*name, given.get(name)?)));
    let settings: Vec<_> =
        settings.map(|(name, value)| (format!("\"{name}\""), value.get())).collect();
    let settings = members::object(settings.iter().map(|(name, value)| (name.as_str(), *value)));
    let client_env = given.parsed("client_env")?;
    Ok(New {
        account: given.parsed("account_id")?,
        project: given
            .parsed("project_id")?
            .ok_or_else(|| missing("project_id", "the project whose calls it takes"))?,
        client_env: client_env
            .ok_or_else(|| missing("client_env", "sandbox, pre-release or live"))?,
        settings: Settings::read(&settings).map_err(ConnectorError::from)?,
    })
}

/// `GET …/{connector_id}`: the connector, without any secret.
pub(super) async fn get(
    caller: Caller,
    params: Params,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let found = connectors.get(&caller.0, &params.connector()?).await?;
    Ok(json(StatusCode::OK, whole(&found, Vec::new())?))
}

/// `PATCH …/{connector_id}`: changes its settings by a JSON Merge Patch of them.
pub(super) async fn patch(
    caller: Caller,
    params: Params,
    body: Body,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    let id = params.connector()?;
    let given = Members::of_body(&body.0)?;
    let text = String::from_utf8_lossy(&body.0);
    check_text(&text, "")?;
    given.only(&MEMBERS).map_err(|mut refused| {
        refused.message.push_str(
            ". account_id, project_id and client_env stay as they are: make another connector for another environment",
        );
        refused
    })?;
    let changed = connectors.patch(&caller.0, &id, text.trim_ascii()).await?;
    Ok(json(StatusCode::OK, whole(&changed, Vec::new())?))
}

/// `DELETE …/{connector_id}`: deletes it; its token opens nothing from then on.
pub(super) async fn delete(
    caller: Caller,
    params: Params,
    connectors: Data<Connectors>,
) -> Result<HttpResponse, ApiError> {
    params.only(&[])?;
    connectors.delete(&caller.0, &params.connector()?).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn json(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, "application/json")).body(text)
}
