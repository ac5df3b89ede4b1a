//! The type of a file, by the ending of its name.

/// `Content-Type` of the file called `name`.
#[must_use]
pub fn type_of(name: &str) -> &'static str {
    let Some((_, ending)) = name.rsplit_once('.') else { return DEFAULT };
    let ending = ending.to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == ending).map_or(DEFAULT, |(_, media)| media)
}

/// Whether bodies of this type get smaller by compression.
#[must_use]
pub fn is_compressible(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    media.starts_with("text/") && media != "text/event-stream"
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(
            media,
            "application/json"
                | "application/javascript"
                | "application/xml"
                | "application/manifest+json"
                | "application/wasm"
                | "image/svg+xml"
                | "application/x-javascript"
        )
}

const DEFAULT: &str = "application/octet-stream";

/// In the order in which sites ask for them.
const TYPES: [(&str, &str); 54] = [
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("gif", "image/gif"),
    ("ico", "image/vnd.microsoft.icon"),
    ("woff2", "font/woff2"),
    ("woff", "font/woff"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("eot", "application/vnd.ms-fontobject"),
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("txt", "text/plain; charset=utf-8"),
    ("xml", "text/xml; charset=utf-8"),
    ("rss", "application/rss+xml"),
    ("atom", "application/atom+xml"),
    ("csv", "text/csv; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("wasm", "application/wasm"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov", "video/quicktime"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("ts", "video/mp2t"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("m4a", "audio/mp4"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("7z", "application/x-7z-compressed"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ics", "text/calendar; charset=utf-8"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_types() {
        for (name, media) in [
            ("a.css", "text/css; charset=utf-8"),
            ("A.JPG", "image/jpeg"),
            ("a.min.js", "text/javascript; charset=utf-8"),
            ("unknown.xyz", DEFAULT),
            ("LICENSE", DEFAULT),
        ] {
            assert_eq!(type_of(name), media, "{name}");
        }
    }

    #[test]
    fn text_is_compressible_and_events_are_not() {
        for media in ["text/html; charset=utf-8", "application/json", "image/svg+xml", "application/ld+json"]
        {
            assert!(is_compressible(media), "{media}");
        }
        for media in ["image/png", "text/event-stream", "application/zip", "", "video/mp4"] {
            assert!(!is_compressible(media), "{media}");
        }
    }
}
