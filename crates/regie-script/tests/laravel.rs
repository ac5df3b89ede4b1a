//! laravel
