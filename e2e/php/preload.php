<?php // Named by opcache.preload.
final class Preloaded
{
    public const WORD = 'preloaded';
}
