//! What is derived for, checked.

use std::collections::HashSet;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Generics, Type, Visibility, parse_quote_spanned};

/// The fields that are present stand as bits in one integer.
const MAX_FIELDS: usize = 64;

/// A struct that can be made mergeable.
pub(crate) struct Input<'a> {
    pub(crate) visibility: &'a Visibility,
    pub(crate) name: &'a Ident,
    /// As the struct was declared.
    pub(crate) generics: &'a Generics,
    /// With a bound for each field type that depends on a parameter.
    pub(crate) bounded: Generics,
    pub(crate) fields: Vec<Field<'a>>,
    /// The field that keeps those that other releases have, if the struct is open.
    pub(crate) unknown: Option<Field<'a>>,
}

/// One field of it.
pub(crate) struct Field<'a> {
    pub(crate) visibility: &'a Visibility,
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) ident: &'a Ident,
    /// As it is shown: `type`, where the identifier is `r#type`.
    pub(crate) name: String,
    /// With the struct's name for `Self`, which means another type in the handle.
    pub(crate) ty: TokenStream,
    /// `<Type as Crdt>`, with the type as it was written: where a field is used in no other form, one that is no CRDT is
    /// reported once, where its type stands, in the words of the trait.
    pub(crate) of: TokenStream,
    /// Its position, which is its number in messages.
    pub(crate) number: u32,
}

impl<'a> Input<'a> {
    pub(crate) fn new(input: &'a DeriveInput) -> syn::Result<Self> {
        let (fields, unknown) = fields_of(input)?;
        Ok(Self {
            visibility: &input.vis,
            name: &input.ident,
            generics: &input.generics,
            bounded: bounded(input, &fields),
            fields,
            unknown,
        })
    }

    /// The fields, with the one that keeps others.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().chain(&self.unknown)
    }
}

impl Field<'_> {
    /// A name for the field where it has none, as a local variable.
    pub(crate) fn local(&self) -> Ident {
        Ident::new(&format!("field_{}", self.number), Span::mixed_site())
    }
}

/// Whether a field of this type keeps those that other releases have: it is told by the last name of its type.
fn keeps_unknown(field: &syn::Field) -> bool {
    let Type::Path(path) = &field.ty else {
        return false;
    };
    path.path.segments.last().is_some_and(|last| last.ident == "UnknownFields")
}

/// The fields, and the one that keeps others.
fn fields_of<'a>(input: &'a DeriveInput) -> syn::Result<(Vec<Field<'a>>, Option<Field<'a>>)> {
    let name = &input.ident;
    let refuse = |reason: String| Err(Error::new(name.span(), reason));
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(_) => {
            return refuse(format!(
                "an enum cannot be merged variant by variant: hold it whole, in an `LwwRegister<{name}>`, \
                 or make it a struct with a field for each variant"
            ));
        }
        Data::Union(_) => {
            return refuse(
                "a union cannot be merged: make it a struct, or hold a plain value in an `LwwRegister<..>`"
                    .into(),
            );
        }
    };
    let known = fields.iter().filter(|field| !keeps_unknown(field)).count();
    if known == 0 {
        return refuse("a struct without fields has nothing to merge: give it a field".into());
    }
    if known > MAX_FIELDS {
        return refuse(format!(
            "a struct can have at most {MAX_FIELDS} fields, not {known}: group some into a struct of their own"
        ));
    }
    if fields.len() > known + 1 {
        return refuse(
            "one field of type `UnknownFields` keeps all that are unknown: leave the others out".into(),
        );
    }
    let Fields::Named(fields) = fields else {
        return refuse(format!(
            "the fields of a tuple struct have no names to be written and reported by: \
             give the fields names, as in `struct {name} {{ first: .. }}`"
        ));
    };
    let (_, types, _) = input.generics.split_for_impl();
    let whole = quote!(#name #types);
    let (unknown, known): (Vec<_>, Vec<_>) = fields.named.iter().partition(|field| keeps_unknown(field));
    let field_of = |(field, number): (&'a syn::Field, u32)| {
        let ident = field.ident.as_ref()?;
        let ty = without_self(field.ty.to_token_stream(), &whole);
        Some(Field {
            visibility: &field.vis,
            docs: field.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).collect(),
            ident,
            name: ident.unraw().to_string(),
            of: quote_spanned!(ty.span()=> <#ty as ::driftless::Crdt>),
            ty,
            number,
        })
    };
    // It has no number: those behind it keep theirs whether it stands before or behind them.
    let unknown = unknown.into_iter().zip(known.len() as u32..).find_map(field_of);
    Ok((known.into_iter().zip(0..).filter_map(field_of).collect(), unknown))
}

fn without_self(tokens: TokenStream, whole: &TokenStream) -> TokenStream {
    let replace = |token| match token {
        TokenTree::Ident(ident) if ident == "Self" => whole.clone(),
        TokenTree::Group(group) => {
            let mut replaced = Group::new(group.delimiter(), without_self(group.stream(), whole));
            replaced.set_span(group.span());
            TokenTree::from(replaced).into()
        }
        token => token.into(),
    };
    tokens.into_iter().flat_map(replace).collect()
}

/// The generics with `FieldType: Crdt` for each field type that depends on a parameter. A type that mentions the struct itself
/// is left out: its bound would ask for itself, and follows from those of the other fields.
fn bounded(input: &DeriveInput, fields: &[Field<'_>]) -> Generics {
    let mut bounded = input.generics.clone();
    let types = input.generics.type_params().map(|parameter| &parameter.ident);
    let consts = input.generics.const_params().map(|parameter| &parameter.ident);
    let parameters: Vec<_> = types.chain(consts).collect();
    let mut seen = HashSet::new();
    for Field { ty, .. } in fields {
        let depends = mentions(ty, &parameters) && !mentions(ty, &[&input.ident]);
        if depends && seen.insert(ty.to_string()) {
            let bound = parse_quote_spanned!(ty.span()=> #ty: ::driftless::Crdt);
            bounded.make_where_clause().predicates.push(bound);
        }
    }
    bounded
}

fn mentions(tokens: &TokenStream, names: &[&Ident]) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.contains(&&ident),
        TokenTree::Group(group) => mentions(&group.stream(), names),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
