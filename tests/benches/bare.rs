//! The ceiling: actix-web answering the same bytes from a moka cache, and nothing else.

use actix_web::App;
use actix_web::HttpResponse;
use actix_web::HttpServer;
use actix_web::web;
use actix_web::web::Bytes;
use actix_web::web::Data;
use moka::future::Cache;

/// Serves the file `body` at `/v1/handoff_state` until it is killed, on one worker.
pub fn serve(address: &str, body: &str) {
    let cache: Cache<String, Bytes> = Cache::new(10_000);
    let body = Bytes::from(std::fs::read(body).unwrap());
    actix_web::rt::System::new().block_on(async {
        cache.insert("the only one".to_owned(), body).await;
        HttpServer::new(move || {
            App::new()
                .app_data(Data::new(cache.clone()))
                .service(web::resource("/v1/handoff_state").route(web::get().to(read)))
        })
        .workers(1)
        .shutdown_timeout(0)
        .bind(address)
        .unwrap()
        .run()
        .await
        .unwrap();
    });
}

async fn read(cache: Data<Cache<String, Bytes>>) -> HttpResponse {
    match cache.get("the only one").await {
        Some(body) => HttpResponse::Ok().content_type("application/json").body(body),
        None => HttpResponse::NotFound().finish(),
    }
}
