//! The handle through which a transaction writes a struct.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{GenericParam, Generics, Lifetime, LifetimeParam};

use crate::input::{Field, Input};

/// The name of the handle of a struct.
pub(crate) fn name(input: &Input<'_>) -> Ident {
    format_ident!("{}Mut", input.name)
}

/// How long the handle borrows what it writes: a name that no lifetime of the struct has.
pub(crate) fn lifetime(of_struct: &Generics) -> Lifetime {
    let mut name = "'writer".to_owned();
    while of_struct.lifetimes().any(|parameter| parameter.lifetime.to_string() == name) {
        name.push('_');
    }
    Lifetime::new(&name, Span::mixed_site())
}

/// The generics of the handle: those of the struct, and the lifetime.
pub(crate) fn generics(of_struct: &Generics) -> Generics {
    let mut generics = of_struct.clone();
    generics.params.insert(0, GenericParam::Lifetime(LifetimeParam::new(lifetime(of_struct))));
    generics
}

/// The handle, its methods, and what lets the struct be read through it.
pub(crate) fn define(input: &Input<'_>) -> TokenStream {
    let Input { visibility, name: target, .. } = input;
    let name = name(input);
    let (_, target_types, _) = input.generics.split_for_impl();

    let lifetime = lifetime(input.generics);
    let declared = generics(input.generics);
    let bounded = generics(&input.bounded);
    let (impls, types, wheres) = declared.split_for_impl();
    let (bounded_impls, _, bounded_wheres) = bounded.split_for_impl();

    let shown = name.to_string();
    let doc = format!(
        "Writes a [`{target}`] within a transaction: one method for each field. What it holds can be read through it."
    );
    let methods = input.fields.iter().map(method);
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #visibility struct #name #declared (::driftless::Writer<#lifetime, #target #target_types>) #wheres;

        // A field that is not written is no dead code, and its name was chosen for a field.
        #[allow(
            dead_code, unreachable_pub, non_snake_case, clippy::should_implement_trait, clippy::wrong_self_convention
        )]
        #[automatically_derived]
        impl #bounded_impls #name #types #bounded_wheres {
            #(#methods)*
        }

        #[automatically_derived]
        impl #impls ::core::ops::Deref for #name #types #wheres {
            type Target = #target #target_types;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        #[automatically_derived]
        impl #impls ::core::fmt::Debug for #name #types #wheres {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple(#shown).field(&self.0).finish()
            }
        }
    }
}

fn method(field: &Field<'_>) -> TokenStream {
    let Field { visibility, docs, ident, name, ty, of, number } = field;
    let doc = format!("Writes `{name}`.");
    // The blank line between the two.
    let gap = (!docs.is_empty()).then(|| quote_spanned!(Span::mixed_site()=> #[doc = ""]));
    // From the first to the last token of the type, where all else stands that asks it to be a CRDT.
    let end = ty.clone().into_iter().last().map_or_else(Span::call_site, |token| token.span());
    let inner = quote_spanned!(end=> ::Mut<'_>);
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        #gap
        #(#docs)*
        #visibility fn #ident(&mut self) -> #of #inner {
            self.0.field::<#ty>(#number, #name, |value| &mut value.#ident)
        }
    }
}
